# The fixed command of every action: `/bin/bash -p enter.sh COMMAND [--option=VALUE]`.
# Finds a Python by absolute path and hands over to launch.py. Looks at no PATH, sources nothing.
set -euo pipefail
PATH=/usr/bin:/bin
here=${0%/*}

# What the step set to nothing shall not be there at all, in no program that follows.
for name in $(compgen -e); do
    [ -n "${!name}" ] || unset -v "$name"
done

usable() {
    [ -x "$1" ] && "$1" -I -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

fail() {
    echo "::error title=sovgate::$1"
    exit 2
}

python=${SOVGATE_ACTION_PYTHON:-}
if [ -n "$python" ]; then
    case $python in
        /*) ;;
        *) fail 'the input python is not an absolute path' ;;
    esac
    usable "$python" || fail 'the input python names no Python 3.11 or newer'
else
    # In a container job the expression's path is the host's: the runner's own word comes after it,
    # and then where it mounts its tools.
    caches=()
    for tools in "${SOVGATE_ACTION_TOOLS:-}" "${RUNNER_TOOL_CACHE:-}" /__t /opt/hostedtoolcache; do
        case $tools in
            /*) caches+=("$tools"/Python/3.1[1-9].*/*/bin/python3) ;;
        esac
    done
    for candidate in /usr/bin/python3 /usr/local/bin/python3 \
        /usr/bin/python3.1[1-9] /usr/local/bin/python3.1[1-9] \
        "${caches[@]}" \
        /opt/homebrew/bin/python3 /Library/Frameworks/Python.framework/Versions/3.1[1-9]/bin/python3; do
        if usable "$candidate"; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || fail 'no Python 3.11 or newer on this runner: name one with the input python, e.g. the output python-path of actions/setup-python'
fi
exec "$python" -I -B "$here/launch.py" "$@"
