"""How private keys, tokens and credentials are written: a pattern for each. No I/O.

The list of `secrets`, which says how it is asked.
"""

from __future__ import annotations

import re

#: With what stands around a key's lines in a notebook, a program, a comment or a quotation.
BODY = rb"[A-Za-z0-9+/=\\\r\n \t,:.\"'#>*|-]{0,300}?[A-Za-z0-9+/]{40}"
#: A quotation mark, also within text that is itself quoted: JSON in a notebook. Not to begin a
#: pattern with, which a search then could not leap to.
Q = rb"\\{0,3}\""
#: Between a name and its value, in any language of settings.
IS = rb"[\\\"'\] ]{0,6}[=:][\\\"' ]{0,6}"
#: A DER SEQUENCE of any length.
SEQ = rb"\x30(?:[\x02-\x7f]|[\x81-\x84].{1,4})"
#: A key of Tink and what kind it is, in either order in one object: the kind alone is in programs.
_TO = Q + rb"\s{0,20}:\s{0,20}" + Q
_VALUE = rb"\"value" + _TO + rb"[A-Za-z0-9+/=_-]{16,20000}" + Q
_KIND = rb"keyMaterialType" + _TO + rb"(?:SYMMETRIC|ASYMMETRIC_PRIVATE)" + Q
#: Of these a match need not have a word of `long_words.LONG` letters: there are spaces, lines, dots
#: or signs of percent in it.
SPACED = frozenset(
    {
        "a GnuPG private key",
        "a private key in XML",
        "a registry token",
        "an Azure client secret",
        "a shared access signature",
        "a Tink keyset in the clear",
    }
)
#: (what it is, pattern). Bounded, without nested repetition, so that no file makes one slow. None
#: begins with a look behind: what stands before is asked of what was found.
PATTERNS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    (
        "a private key",
        re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----" + BODY),
    ),
    ("a private key", re.compile(rb"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----" + BODY)),
    (
        "a GnuPG private key",
        re.compile(
            rb"\((?:protected-)?private-key[ \r\n]{0,9}\([a-z][^\"]{0,400}?#[0-9A-Fa-f\r\n ]{40}"
        ),
    ),
    (
        "a private key in XML",
        re.compile(
            rb"</(?:InverseQ|Exponent|Modulus|D?[PQ])>\s{0,99}<D>\s{0,99}+"
            rb"[A-Za-z0-9+/\r\n\t]{60,3000}+={0,2}\s{0,99}</D>"
        ),
    ),
    (
        "a WireGuard private key",
        re.compile(
            rb"PrivateKey[ \t]{0,9}=[ \t]{0,9}[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="
            rb"(?![A-Za-z0-9+/=])"
        ),
    ),
    (
        "a minisign private key",
        re.compile(rb"RW(?:RTY0|QAAE)Iy[A-Za-z0-9+/]{200,210}={0,2}(?![A-Za-z0-9+/=])"),
    ),
    ("a PuTTY private key", re.compile(rb"PuTTY-User-Key-File-[1-9]: ")),
    ("an age key", re.compile(rb"AGE-SECRET-KEY-(?:PQ-)?1[AC-HJ-NP-Z02-9]{58}")),
    (
        "an AWS secret key",
        re.compile(rb"SecretAccessKey" + IS + rb"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"),
    ),
    (
        "an AWS secret key",
        re.compile(rb"secret_access_key" + IS + rb"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"),
    ),
    ("an Azure storage key", re.compile(rb"AccountKey=[A-Za-z0-9+/]{86}==")),
    ("a GitHub token", re.compile(rb"gh[pousr]_[A-Za-z0-9]{36}(?![A-Za-z0-9])")),
    ("a GitHub token", re.compile(rb"github_pat_[A-Za-z0-9_]{82}(?![A-Za-z0-9_])")),
    ("a GitLab token", re.compile(rb"gl(?:pat|rt|dt|ptt)-[A-Za-z0-9_-]{20}(?![A-Za-z0-9_-])")),
    ("a Vault token", re.compile(rb"hv[sb]\.[A-Za-z0-9_-]{60,200}(?![A-Za-z0-9_-])")),
    ("a Hugging Face token", re.compile(rb"hf_[A-Za-z0-9]{34}(?![A-Za-z0-9])")),
    ("a Hugging Face token", re.compile(rb"api_org_[A-Za-z0-9]{34}(?![A-Za-z0-9])")),
    ("an Anthropic key", re.compile(rb"sk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_-]{60,160}")),
    ("an OpenRouter key", re.compile(rb"sk-or-v1-[0-9a-f]{64}(?![0-9a-f])")),
    ("an xAI key", re.compile(rb"xai-[A-Za-z0-9]{80}(?![A-Za-z0-9])")),
    ("a Perplexity key", re.compile(rb"pplx-[A-Za-z0-9]{48}(?![A-Za-z0-9])")),
    ("a Terraform token", re.compile(rb"\.atlasv1\.[A-Za-z0-9=_-]{60,70}")),
    ("an OpenAI key", re.compile(rb"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,200}")),
    ("an OpenAI key", re.compile(rb"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}")),
    ("a Google API key", re.compile(rb"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])")),
    ("a Google client secret", re.compile(rb"GOCSPX-[A-Za-z0-9_-]{28}(?![A-Za-z0-9_-])")),
    ("a Google refresh token", re.compile(rb"\"refresh_token\"\s{0,9}:\s{0,9}\"1//[\w-]{30,200}")),
    ("a Slack token", re.compile(rb"xox[abeoprs]-[A-Za-z0-9-]{20,250}")),
    ("an npm token", re.compile(rb"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])")),
    ("a registry token", re.compile(rb":_authToken=[A-Za-z0-9_./+=-]{16,200}")),
    ("a PyPI token", re.compile(rb"pypi-AgE[A-Za-z0-9_-]{50,250}")),
    ("a Docker token", re.compile(rb"dckr_[po]at_[A-Za-z0-9_-]{27}")),
    ("a Databricks token", re.compile(rb"dapi[0-9a-f]{32}(?:-[0-9])?(?![0-9a-f])")),
    ("a DigitalOcean token", re.compile(rb"do[opr]_v1_[0-9a-f]{64}")),
    ("an NVIDIA key", re.compile(rb"nvapi-[A-Za-z0-9_-]{60,80}")),
    ("a Replicate token", re.compile(rb"r8_[A-Za-z0-9]{37}(?![A-Za-z0-9])")),
    ("a Groq key", re.compile(rb"gsk_[A-Za-z0-9]{52}(?![A-Za-z0-9])")),
    ("a LangSmith key", re.compile(rb"lsv2_[ps][kt]_[0-9a-f]{32}_[0-9a-f]{10}")),
    ("a Stripe key", re.compile(rb"k_live_[A-Za-z0-9]{24,100}")),
    ("a SendGrid key", re.compile(rb"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}")),
    ("a Weights & Biases key", re.compile(rb"wandb_v1_[A-Za-z0-9_]{60,100}")),
    (
        "a Weights & Biases key",
        re.compile(rb"WANDB_API_KEY" + IS + rb"[0-9a-f]{40}(?![0-9a-f])"),
    ),
    (
        "a Weights & Biases key",
        re.compile(rb"wandb_api_key" + IS + rb"[0-9a-f]{40}(?![0-9a-f])"),
    ),
    (
        "a Weights & Biases key",
        re.compile(
            rb"machine api\.wandb\.ai\s{1,9}login \S{1,64}\s{1,9}password\s{1,9}[0-9a-f]{40}"
        ),
    ),
    (
        "a Kaggle key",
        re.compile(
            rb"\{\"username\"\s{0,9}:\s{0,9}\"[^\"]{1,64}\",\s{0,9}\"key\":\s{0,9}\"[0-9a-f]{32}\""
        ),
    ),
    (
        "a Kaggle key",
        re.compile(rb"\{\"key\"\s{0,9}:\s{0,9}\"[0-9a-f]{32}\",\s{0,9}\"username\"\s{0,9}:"),
    ),
    (
        "an Azure client secret",
        re.compile(rb"clientSecret" + IS + rb"[A-Za-z0-9_~.-]{34,44}"),
    ),
    (
        "an Azure client secret",
        re.compile(rb"AZURE_CLIENT_SECRET" + IS + rb"[A-Za-z0-9_~.-]{34,44}"),
    ),
    (
        "an Azure client secret",
        re.compile(rb"azure_client_secret" + IS + rb"[A-Za-z0-9_~.-]{34,44}"),
    ),
    ("a shared access signature", re.compile(rb"sv=20[0-9-]{8}&[\w%&=.:-]{0,300}sig=[\w%+/-]{40}")),
    ("a Tink keyset in the clear", re.compile(_VALUE + rb"[^{}]{0,300}\"" + _KIND)),
    ("a Tink keyset in the clear", re.compile(rb"\"" + _KIND + rb"[^{}]{0,300}" + _VALUE)),
)
