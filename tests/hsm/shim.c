// A PKCS#11 module that passes everything on to a real one, and fails where a test tells it to.
//
// SHIM=FAULT|MODULE|SETTING|LOG  MODULE is opened by dlopen. SETTING is NAME=VALUE of a variable for
// it, or what NSS wants as pReserved of C_Initialize. LOG gets the name of each call that matters
// to a test: a line each. Function numbers are places in CK_FUNCTION_LIST (PKCS#11 2.40).
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long RV;
typedef struct { void *create, *destroy, *lock, *unlock; unsigned long flags; void *reserved; } Arguments;
typedef RV (*Function)();
typedef struct { unsigned char version[2]; Function at[68]; } List;
enum { INITIALIZE, FINALIZE, TOKEN_INFO = 6, MECHANISMS, OPEN = 12, CLOSE, LOGIN = 18, FIND = 27,
       DECRYPT = 34, SIGN = 43, DERIVE = 62 };
enum { FUNCTION_FAILED = 0x6, DEVICE_REMOVED = 0x32 };

static List mine, *real;
static char fault[64], *module, *setting, *logged;
static int signed_before;
static unsigned char kept[512];

static int is(const char *name) { return strcmp(fault, name) == 0; }

static void note(const char *name) {
    FILE *file = logged && *logged ? fopen(logged, "a") : NULL;
    if (file) { fprintf(file, "%s\n", name); fclose(file); }
}

static RV trouble(const char *doing) {
    char name[64];
    const char *kinds[] = {"crash", "exit", "hang", "removed", "failed"};
    for (int kind = 0; kind < 5; kind++) {
        snprintf(name, sizeof name, "%s-%s", kinds[kind], doing);
        if (!is(name)) continue;
        if (kind == 0) abort();
        if (kind == 1) _exit(0);
        if (kind == 2) { note("hangs"); for (;;) pause(); }
        return kind == 3 ? DEVICE_REMOVED : FUNCTION_FAILED;
    }
    return 0;
}

static RV initialize(void *given) {
    Arguments arguments = {0, 0, 0, 0, 2, 0};
    RV failed = trouble("initialize");
    if (failed) return failed;
    note("initialize");
    if (strncmp(setting, "configdir=", 10) != 0) return real->at[INITIALIZE](given);
    arguments.reserved = setting;
    return real->at[INITIALIZE](&arguments);
}

static RV finalize(void *given) { note("finalize"); return real->at[FINALIZE](given); }

static RV token_info(unsigned long slot, unsigned char *info) {
    RV got = real->at[TOKEN_INFO](slot, info);
    unsigned long *flags = (unsigned long *)(info + 96);
    if (is("final-try")) *flags |= 0x20000;
    if (is("locked")) *flags |= 0x40000;
    return got;
}

static RV mechanisms(unsigned long slot, unsigned long *list, unsigned long *count) {
    if (is("no-mechanisms")) { if (list) list[0] = 0; *count = 1; return 0; }
    return real->at[MECHANISMS](slot, list, count);
}

static RV open_session(unsigned long slot, unsigned long flags, void *a, void *b, void *handle) {
    note(flags & 2 ? "open-to-write" : "open");
    return real->at[OPEN](slot, flags, a, b, handle);
}

static RV close_session(unsigned long handle) { note("close"); return real->at[CLOSE](handle); }

static RV login(unsigned long handle, unsigned long user, char *pin, unsigned long length) {
    note("login");
    if (is("talks")) {
        printf("PIN %.*s\n", (int)length, pin); fflush(stdout);
        fprintf(stderr, "PIN %.*s\n", (int)length, pin);
    }
    return real->at[LOGIN](handle, user, pin, length);
}

static RV find(unsigned long handle, unsigned long *found, unsigned long most, unsigned long *count) {
    RV failed = trouble("find");
    return failed ? failed : real->at[FIND](handle, found, most, count);
}

static RV sign(unsigned long handle, void *data, unsigned long size, unsigned char *made, unsigned long *length) {
    RV failed = trouble("sign"), got;
    if (failed) return failed;
    got = real->at[SIGN](handle, data, size, made, length);
    if (got || !made) return got;
    note("sign");
    if (is("other-signature")) made[*length - 1] ^= 1;
    if (is("short-signature")) *length -= 1;
    if (is("same-signature") && signed_before) memcpy(made, kept, *length);
    memcpy(kept, made, *length);
    signed_before = 1;
    return got;
}

static RV decrypt(unsigned long handle, void *data, unsigned long size, unsigned char *opened, unsigned long *length) {
    RV failed = trouble("decrypt"), got;
    if (failed) return failed;
    got = real->at[DECRYPT](handle, data, size, opened, length);
    if (!got && opened && is("other-plaintext")) opened[0] ^= 1;
    return got;
}

static RV derive(unsigned long handle, void *mechanism, unsigned long key, void *wanted, unsigned long count, void *made) {
    RV failed = trouble("derive");
    note("derive");
    return failed ? failed : real->at[DERIVE](handle, mechanism, key, wanted, count, made);
}

RV C_GetFunctionList(void **given) {
    char *text = strdup(getenv("SHIM")), *parts[4] = {text, "", "", ""};
    for (int part = 1; part < 4 && parts[part - 1]; part++) {
        char *bar = strchr(parts[part - 1], '|');
        if (!bar) break;
        *bar = 0;
        parts[part] = bar + 1;
    }
    snprintf(fault, sizeof fault, "%s", parts[0]);
    module = parts[1]; setting = parts[2]; logged = parts[3];
    if (strchr(setting, '=') && strncmp(setting, "configdir=", 10) != 0) putenv(setting);
    void *handle = dlopen(module, RTLD_NOW);
    if (!handle) return FUNCTION_FAILED;
    RV got = ((RV (*)(List **))dlsym(handle, "C_GetFunctionList"))(&real);
    if (got) return got;
    mine = *real;
    mine.at[INITIALIZE] = initialize; mine.at[FINALIZE] = finalize;
    mine.at[TOKEN_INFO] = token_info; mine.at[MECHANISMS] = mechanisms;
    mine.at[OPEN] = open_session; mine.at[CLOSE] = close_session; mine.at[LOGIN] = login;
    mine.at[FIND] = find; mine.at[SIGN] = sign; mine.at[DECRYPT] = decrypt; mine.at[DERIVE] = derive;
    *given = &mine;
    return 0;
}
