//! One made-up token of every shape, put together here so that no file holds a whole one.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub struct Token {
    /// The token in what it needs around it.
    pub text: String,
    pub secret: String,
    /// Whether letters may stand right before and behind it.
    pub is_distinct: bool,
    /// Whether it goes on to the end of any text.
    pub is_cut: bool,
}

/// `count` characters of `word`, over and over.
fn fill(word: &str, count: usize) -> String {
    word.chars().cycle().take(count).collect()
}

fn letters(count: usize) -> String {
    fill("n0tArea1", count)
}

fn digits(count: usize) -> String {
    fill("0123456789", count)
}

fn hexadecimal(count: usize) -> String {
    fill("0ea1", count)
}

fn upper(count: usize) -> String {
    fill("N0TAREA1", count)
}

/// Tokens that are their own context.
fn alone() -> Vec<(String, bool)> {
    let mut all: Vec<(String, bool)> = Vec::new();
    let mut distinct = |parts: &[&str]| all.push((parts.concat(), true));
    for kind in ["p", "o", "u", "s", "r"] {
        distinct(&["gh", kind, "_", &letters(36)]);
    }
    distinct(&["github", "_pat_", &letters(22), "_", &letters(59)]);
    for kind in ["pat", "dt", "rt", "cbt", "ptt", "soat", "ft", "imt", "agent", "oas", "ffct", "wt"]
    {
        distinct(&["gl", kind, "-", &letters(26)]);
    }
    distinct(&["gl", "pat-", &letters(27), ".01.", &fill("n0tarea1", 9)]);
    distinct(&["GR134", "8941", &letters(20)]);
    distinct(&["ATATT", "3xFf", &letters(180)]);
    for kind in ["b", "p", "a", "r", "s"] {
        distinct(&["xo", "x", kind, "-", &digits(12), "-", &digits(12), "-", &letters(24)]);
    }
    distinct(&["xo", "xe.xo", "xp-1-", &letters(140)]);
    distinct(&["xap", "p-1-A", &upper(10), "-", &digits(13), "-", &hexadecimal(64)]);
    distinct(&["shp", "at_", &hexadecimal(32)]);
    distinct(&["sq0", "csp-", &letters(43)]);
    distinct(&["AI", "za", &letters(35)]);
    distinct(&["GOC", "SPX-", &letters(28)]);
    distinct(&["IQoJb3", "JpZ2lu", &letters(200), "=="]);
    distinct(&["FwoGZX", "IvYXdz", &letters(200)]);
    distinct(&["abc", "8Q", "~", &letters(34)]);
    distinct(&[&letters(76), "+A", "St", &letters(5), "g=="]);
    distinct(&["pypi-", "AgEIcHlwaS5vcmc", &letters(60)]);
    distinct(&["ruby", "gems_", &hexadecimal(48)]);
    distinct(&["dckr", "_pat_", &letters(27)]);
    distinct(&["xkey", "sib-", &hexadecimal(64), "-", &letters(16)]);
    distinct(&["tskey", "-auth-", &letters(12), "-", &letters(32)]);
    distinct(&["gl", "sa_", &letters(32), "_", &hexadecimal(8)]);
    distinct(&["sntr", "yu_", &hexadecimal(64)]);
    distinct(&["dt0", "c01.", &upper(24), ".", &upper(64)]);
    distinct(&["lin", "_api_", &letters(40)]);
    distinct(&["PM", "AK-", &hexadecimal(24), "-", &hexadecimal(34)]);
    distinct(&["AGE-SEC", "RET-KEY-1", &upper(58)]);
    distinct(&["ey", "J", &letters(20), ".ey", "J", &letters(40), ".", &letters(43)]);
    let mut bounded = |parts: &[&str]| all.push((parts.concat(), false));
    bounded(&["AT", "BB", &letters(32)]);
    bounded(&[
        "https://hooks.",
        "slack.com/ser",
        "vices/T",
        &upper(8),
        "/B",
        &upper(8),
        "/",
        &letters(24),
    ]);
    bounded(&["https://example.web", "hook.office.com/web", "hookb2/", &letters(80)]);
    bounded(&["https://disc", "ord.com/api/web", "hooks/", &digits(18), "/", &letters(68)]);
    bounded(&[&digits(9), ":A", "AH", &letters(32)]);
    bounded(&["sk", "_live_", &letters(24)]);
    bounded(&["rk", "_live_", &letters(24)]);
    bounded(&["sk", "_test_", &letters(24)]);
    bounded(&["wh", "sec_", &letters(32)]);
    bounded(&["EA", "AA", &letters(60)]);
    for kind in ["proj-", "svcacct-", "ant-api03-"] {
        bounded(&["sk", "-", kind, &letters(60)]);
    }
    bounded(&["sk", "-", &letters(20), "T3Blbk", "FJ", &letters(20)]);
    bounded(&["gs", "k_", &letters(52)]);
    bounded(&["h", "f_", &letters(34)]);
    bounded(&["ya", "29.a0", &letters(60)]);
    bounded(&["1/", "/0", &letters(43)]);
    bounded(&[&letters(76), "AZ", "DO", &letters(4)]);
    for kind in ["s", "b", "r"] {
        bounded(&["hv", kind, ".", &letters(90)]);
    }
    bounded(&[&letters(14), ".atlas", "v1.", &letters(67)]);
    bounded(&["np", "m_", &letters(36)]);
    bounded(&["S", "G.", &letters(22), ".", &letters(43)]);
    bounded(&["key", "-", &hexadecimal(32)]);
    bounded(&["do", "p_v1_", &hexadecimal(64)]);
    bounded(&["do", "o_v1_", &hexadecimal(64)]);
    bounded(&["da", "pi", &hexadecimal(32)]);
    bounded(&["dp", ".pt.", &letters(43)]);
    bounded(&["pu", "l-", &hexadecimal(40)]);
    bounded(&["op", "s_ey", "J", &letters(250)]);
    bounded(&["sb", "p_", &hexadecimal(40)]);
    bounded(&["NR", "AK-", &upper(27)]);
    bounded(&["gl", "c_", &letters(80)]);
    bounded(&["sq", "p_", &hexadecimal(40)]);
    bounded(&["sec", "ret_", &letters(43)]);
    bounded(&["nt", "n_", &digits(11), &letters(35)]);
    bounded(&["fi", "gd_", &letters(40)]);
    bounded(&["M", &letters(25), ".", &letters(6), ".", &letters(38)]);
    all
}

/// A private key in PEM, whole or cut.
pub fn private_key(label: &str, is_cut: bool) -> String {
    let lines = format!("{}\n{}\n", letters(64), letters(40));
    let end = if is_cut { String::new() } else { format!("-----END {label} KEY-----") };
    format!("-----BEG{} {label} KEY-----\n{lines}{end}", "IN")
}

/// Secrets that only what stands around them gives away.
fn in_context() -> Vec<(String, String, String)> {
    let own =
        |before: &str, secret: String, behind: &str| (before.to_owned(), secret, behind.to_owned());
    let free = || "n0t+a/real=".to_owned() + &letters(9);
    vec![
        own("https://deployer:", "n0tareal+pass".to_owned(), "@example.com/a"),
        own("https://x.example/a?se=1&sig=", letters(40) + "=", "&sp=r"),
        own("https://x.example/a?X-Amz-Signature=", hexadecimal(64), ""),
        own("twilio: ", "SK".to_owned() + &hexadecimal(32), " x"),
        own("Authorization: SSWS ", "00".to_owned() + &letters(40), ""),
        own("Authorization: Bearer ", letters(20), ""),
        own("{\"authorization\":\"Basic ", letters(20) + "==", "\"}"),
        own("sent Bearer ", letters(32), " to it"),
        own("aws_secret_access_key = ", "n0t+a/rea1".repeat(4), " "),
        own("{\"SecretAccessKey\":\"", "n0t+a/rea1".repeat(4), "\"}"),
        own("AccountName=a;AccountKey=", letters(86) + "==", ";EndpointSuffix=x"),
        own("DB_PASSWORD=", free(), " "),
        own("a?x=1&access_token=", letters(16), "&b=2"),
        own("PASSWD: '", free(), "'"),
        own("{\\\"client_secret\\\":\\\"", letters(16), "\\\"}"),
        own("api-key=\"", "a ".to_owned() + &letters(16), "\""),
        own("is ", "s.".to_owned() + &letters(24), ", a token"),
        own("run --password ", free(), " now"),
        own("db-password: ", letters(12), ""),
    ]
}

pub fn tokens() -> Vec<Token> {
    let mut all = Vec::new();
    for (text, is_distinct) in alone() {
        all.push(Token { secret: text.clone(), text, is_distinct, is_cut: false });
    }
    for (before, secret, behind) in in_context() {
        let text = format!("{before}{secret}{behind}");
        all.push(Token { text, secret, is_distinct: false, is_cut: false });
    }
    for (label, is_cut) in [("PRIVATE", false), ("RSA PRIVATE", false), ("EC PRIVATE", true)] {
        let text = private_key(label, is_cut);
        all.push(Token { secret: text.clone(), text, is_distinct: true, is_cut });
    }
    all
}
