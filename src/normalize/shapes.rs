//! What tokens look like, by vendor: as the vendors document them where they do, else as public
//! scanners look for them.

/// One family of tokens.
pub(super) struct Shape {
    /// Every match holds one of these, in whatever case. A last `?` is any character of a token, a
    /// last `!` any that ends a name: they are looked for first, in every text.
    pub(super) anchors: &'static [&'static [u8; 4]],
    /// The secret is the first group that took part, or all of the match.
    pub(super) pattern: &'static str,
    pub(super) value: Value,
    pub(super) needs: Needs,
}

/// What else there must be in a text, so that most are passed over without looking closely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// `@`.
    At,
    /// `=` or `:`.
    Sign,
    /// `--`.
    Dashes,
    /// No anchor: a dot in front of 24 characters.
    DotBefore24,
    /// No anchor: two dots, six characters apart.
    DotsAround6,
}

/// What else a match must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing: nobody else writes that.
    Token,
    /// Free text that is called a secret: no reference to one.
    Named,
    /// As that, and no word of a language.
    Mixed,
}

const fn token(anchors: &'static [&'static [u8; 4]], pattern: &'static str) -> Shape {
    Shape { anchors, pattern, value: Value::Token, needs: Needs::Nothing }
}

const fn named(pattern: &'static str, needs: Needs) -> Shape {
    Shape { anchors: NAMES, pattern, value: Value::Named, needs }
}

const fn mixed(anchors: &'static [&'static [u8; 4]], pattern: &'static str, needs: Needs) -> Shape {
    Shape { anchors, pattern, value: Value::Mixed, needs }
}

/// The ends of the names that [`key!`] knows.
const NAMES: &[&[u8; 4]] =
    &[b"ass!", b"ord!", b"swd!", b"pwd!", b"ase!", b"ret!", b"ken!", b"key!"];

/// A name of a secret, or its end: `DB_PASSWORD`, `clientSecret`, `aws_secret_access_key`.
macro_rules! key {
    () => {
        concat!("(?i:", password!(), "|secret|token)")
    };
}

macro_rules! password {
    () => {
        concat!(
            "(?i:pass(?:word|wd|phrase)?|pwd|(?:api|access|secret|private|account|auth|client|",
            "sign(?:ing)?|encryption|master|shared|webhook)[_.-]?(?:access[_.-]?)?key)",
        )
    };
}

/// A value in quotes, those of JSON inside JSON among them.
macro_rules! quoted {
    () => {
        r#"(?:\\+"([^"\\]{8,})|"((?:[^"\\]|\\.){8,})|'([^']{8,})'?)"#
    };
}

/// Ends where the next parameter, setting or word begins.
macro_rules! bare {
    () => {
        r#"([^\s"'`&;,\\]{8,})"#
    };
}

/// In the order of their words: where two find one secret, the first names it.
pub(super) const SHAPES: &[Shape] = &[
    // A private key in PEM; one that was cut goes on to the end of the text.
    token(
        &[b"-beg"],
        concat!(
            r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?",
            r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)",
        ),
    ),
    token(&[b"ey-1"], r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    // A password in an address.
    Shape {
        needs: Needs::At,
        ..token(
            &[b"://?", b"://:", b"://%"],
            r#"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"'<>]*:([^\s/"'<>]{3,})@"#,
        )
    },
    // GitHub, GitLab, Bitbucket and Atlassian.
    token(&[b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"], r"gh[pousr]_[A-Za-z0-9]{36,}"),
    token(&[b"pat_"], r"github_pat_[A-Za-z0-9_]{40,}"),
    token(
        &[
            b"glpa", b"gldt", b"glrt", b"glcb", b"glpt", b"glso", b"glft", b"glim", b"glag",
            b"gloa", b"glff", b"glwt",
        ],
        concat!(
            r"gl(?:pat|dt|rt|rtr|cbt|ptt|soat|ft|imt|agent|oas|ffct|wt)-[A-Za-z0-9_-]{20,}",
            r"(?:\.[0-9a-z]{2})?(?:\.[0-9a-z]{7,9})?",
        ),
    ),
    token(&[b"8941"], r"GR1348941[A-Za-z0-9_-]{20,}"),
    token(&[b"tatt", b"tctt", b"tstt"], r"AT[ACS]TT3[A-Za-z0-9_=-]{60,}"),
    token(&[b"atbb"], r"\bATBB[A-Za-z0-9]{32}\b"),
    // Slack and other chats; a web hook's address is the secret.
    token(
        &[b"xoxa", b"xoxb", b"xoxc", b"xoxd", b"xoxe", b"xoxo", b"xoxp", b"xoxr", b"xoxs"],
        r"xox[a-z](?:\.xox[a-z])?-(?:[A-Za-z0-9%/+=_-]{10,})",
    ),
    token(&[b"xapp"], r"xapp-[0-9]-[A-Za-z0-9-]{20,}"),
    token(
        &[b"s.sl"],
        r"(?:https?://)?hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/_-]{20,}",
    ),
    token(
        &[b"okb2"],
        r"https?://[A-Za-z0-9.-]+\.webhook\.office\.com/webhookb2/[A-Za-z0-9@/_-]{60,}",
    ),
    token(
        &[b"oks/"],
        r"(?:https?://)?discord(?:app)?\.com/api/(?:v[0-9]+/)?webhooks/[0-9]{15,20}/[A-Za-z0-9_-]{60,}",
    ),
    Shape {
        needs: Needs::DotsAround6,
        ..token(&[], r"\b[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}")
    },
    token(&[b":aa?"], r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
    // Payments and shops.
    token(&[b"k_li", b"k_te"], r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}"),
    token(&[b"hsec"], r"\bwhsec_[A-Za-z0-9+/=]{24,}"),
    token(&[b"hpat", b"hpca", b"hppa", b"hpss"], r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    token(&[b"sq0a", b"sq0c", b"sq0i"], r"sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,}"),
    token(&[b"eaaa"], r"\bEAAA[A-Za-z0-9_-]{56,}"),
    // Models.
    token(
        &[b"sk-?"],
        concat!(
            r"\bsk-(?:(?:proj|svcacct|admin|ant|or|None)-[A-Za-z0-9_-]{20,}",
            r"|[A-Za-z0-9_-]{10,}T3BlbkFJ[A-Za-z0-9_-]{10,}|[0-9a-f]{32}\b)",
        ),
    ),
    token(&[b"gsk_", b"pplx"], r"\b(?:gsk_|pplx-)[A-Za-z0-9]{48,}"),
    token(&[b"hf_?"], r"\bhf_[A-Za-z0-9]{34,}"),
    // Google: API key, access, refresh and client's.
    token(&[b"aiza"], r"AIza[A-Za-z0-9_-]{35}"),
    token(&[b"ya29"], r"\bya29\.(?:[A-Za-z0-9]{1,3}\.)?[A-Za-z0-9_-]{20,}"),
    token(&[b"cspx"], r"GOCSPX-[A-Za-z0-9_-]{28}"),
    token(&[b"1//0", b"1//1"], r"\b1//[01][A-Za-z0-9_-]{30,}"),
    // AWS: a session's token. A secret key has no shape of its own and is found by its name.
    token(&[b"iqoj", b"wogz", b"qogz"], r"(?:IQoJb3JpZ2lu|F[wQ]oGZXIvYXdz)[A-Za-z0-9+/=]{60,}"),
    // Azure: client's secret, storage and Cosmos DB, DevOps, a signature in an address.
    token(&[b"7q~?", b"8q~?"], r"[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}"),
    token(&[b"+ast", b"acdb"], r"[A-Za-z0-9+/]{76}(?:\+ASt|ACDb)[A-Za-z0-9+/]{5,6}={1,2}"),
    token(&[b"azdo"], r"\b[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}\b"),
    token(&[b"sig="], r"[?&;]sig=([A-Za-z0-9%+/=_-]{20,})"),
    token(&[b"ure="], r"(?i)x-(?:amz|goog)-signature=([0-9a-f]{64,})"),
    // HashiCorp.
    token(&[b"hvs.", b"hvb.", b"hvr."], r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}"),
    // `s.` and 24 characters: before 1.10, and OpenBao.
    mixed(&[], r"\b[sbr]\.[A-Za-z0-9]{24}\b", Needs::DotBefore24),
    token(&[b"asv1"], r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}"),
    // Packages and images.
    token(&[b"npm_"], r"\bnpm_[A-Za-z0-9]{36,}"),
    token(&[b"i-ag"], r"pypi-Ag[A-Za-z0-9_-]{50,}"),
    token(&[b"ems_"], r"rubygems_[0-9a-f]{48}"),
    token(&[b"ckr_"], r"dckr_[po]at_[A-Za-z0-9_-]{20,}"),
    // Mail and messages.
    token(&[b"sg.?"], r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    token(&[b"sib-"], r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}"),
    token(&[b"key-"], r"\bkey-[0-9a-f]{32}\b"),
    token(&[b"twil"], r"(?is)twilio.{0,40}?\b(SK[0-9a-f]{32}|[0-9a-f]{32})\b"),
    // Identity, infrastructure, observation, work.
    token(&[b"ssws"], r"(?i)\bSSWS\s+([A-Za-z0-9_-]{30,})"),
    token(&[b"dop_", b"doo_", b"dor_"], r"\bdo[opr]_v1_[0-9a-f]{64}"),
    token(&[b"dapi"], r"\bdapi[0-9a-f]{32}(?:-[0-9])?"),
    token(
        &[b"dp.c", b"dp.p", b"dp.s", b"dp.a"],
        r"\bdp\.(?:ct|pt|st|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}",
    ),
    token(&[b"pul-"], r"\bpul-[0-9a-f]{40}"),
    token(&[b"key-"], r"tskey-[a-z]+-[A-Za-z0-9]+-[A-Za-z0-9]{20,}"),
    token(&[b"ops_"], r"\bops_eyJ[A-Za-z0-9+/=_-]{100,}"),
    token(&[b"sbp_"], r"\bsbp_[0-9a-f]{40}"),
    token(&[b"nrak", b"nrii"], r"\bNR(?:AK-[A-Z0-9]{27}|II-[A-Za-z0-9_-]{32})"),
    token(&[b"glsa"], r"glsa_[A-Za-z0-9]{32}_[0-9A-Fa-f]{8}"),
    token(&[b"glc_"], r"\bglc_[A-Za-z0-9+/]{32,}={0,2}"),
    token(&[b"rys_", b"ryu_"], r"sntry(?:s_eyJ[A-Za-z0-9+/=_]{50,}|u_[0-9a-f]{64})"),
    token(&[b"0c01"], r"dt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    token(&[b"sqa_", b"sqp_", b"squ_"], r"\bsq[apu]_[0-9a-f]{40}"),
    token(&[b"lin_"], r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}"),
    token(&[b"ret_", b"ntn_"], r"\b(?:secret_[A-Za-z0-9]{43}|ntn_[0-9]{11}[A-Za-z0-9]{35})\b"),
    token(&[b"pmak"], r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    token(&[b"figd"], r"\bfigd_[A-Za-z0-9_-]{40,}"),
    // A signed or sealed JSON web token.
    token(&[b"eyj?"], r"eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*){2,4}"),
    // Headers.
    Shape {
        anchors: &[b"arer", b"asic", b"ken ", b"apik", b"tiat"],
        pattern: concat!(
            r#"(?i)authorization["'\\]*\s*[:=]\s*["'\\]*"#,
            r"(?:bearer|basic|token|apikey|negotiate)\s+([A-Za-z0-9._~+/=-]{8,})",
        ),
        value: Value::Token,
        needs: Needs::Sign,
    },
    mixed(
        &[b"arer", b"asic"],
        r"(?i)\b(?:bearer|basic)\s+([A-Za-z0-9._~+/=-]{16,})",
        Needs::Nothing,
    ),
    // `name=value`, `"name": "value"`, `name: value`, `--name value`.
    named(
        concat!(
            key!(),
            r#"(?:["'\]\\]{0,3}\s{0,3}:?=>?|\\{0,3}["']\s{0,3}(?::|=>))\s{0,3}"#,
            "(?:",
            quoted!(),
            "|",
            bare!(),
            ")",
        ),
        Needs::Sign,
    ),
    named(concat!(key!(), r"\s{0,3}:\s{0,3}", quoted!()), Needs::Sign),
    named(
        concat!("--[A-Za-z-]{0,20}", key!(), r"\s+(?:", quoted!(), "|", bare!(), ")"),
        Needs::Dashes,
    ),
    mixed(
        NAMES,
        concat!("(?:", password!(), r"|[A-Za-z0-9][_-](?i:secret|token))\s{0,3}:\s+", bare!()),
        Needs::Sign,
    ),
];
