//! AWS IAM as moto plays it, which checks signatures and rights once it is told to.

use std::path::Path;

use serde_json::Value;
use tipstaff::config::{SecretFrom, ServiceConfig};
use tipstaff::observe::Metrics;
use tipstaff::service::{Call, Service};
use tipstaff::text::{Problems, Source};
use tokio::runtime::Runtime;

use crate::server::{Directory, Server, lookup};

/// Access key id and secret.
type Keys = (String, String);

/// Somebody who makes and changes what is looked up.
struct Admin {
    runtime: Runtime,
    url: String,
    keys: Keys,
}

const DEPLOY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}"#;
const MORE: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
const ALL: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

fn config(url: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    format!(
        "kafka: {{bootstrap.servers: 127.0.0.1:9}}\n\
         fingerprint: {{id: t1, key: {{env: TIPSTAFF_FINGERPRINT_KEY}}}}\n\
         paths: {{pipelines: {root}/pipelines, enrichers: {root}/enrichers, playbooks: {root}/playbooks}}\n\
         services:\n  aws:\n    url: {url}\n    allow: [127.0.0.1]\n    limits: {{timeout: 10s}}\n    \
         aws: {{region: us-east-1, service: iam, access_key_id: {{env: ID}}, secret_access_key: {{env: SECRET}}}}\n"
    )
}

impl Admin {
    fn service(&self) -> Service {
        let mut problems = Problems::default();
        let source = Source::new("tipstaff.yaml", config(&self.url));
        let read = ServiceConfig::read(&source, &mut problems).expect("no problems");
        let kept = |from: &SecretFrom| match from {
            SecretFrom::Env(name) if name == "ID" => Ok(self.keys.0.clone()),
            _ => Ok(self.keys.1.clone()),
        };
        let secrets = read.resolve_services(&kept, &mut problems).remove("aws").expect("secrets");
        let metrics = Metrics::new().unwrap();
        Service::new(&read.services[0], secrets, &metrics.lookups).expect("a service")
    }

    /// The body of the reply, which must be a good one.
    fn call(&self, action: &str, given: &[(&str, &str)]) -> String {
        let pairs = [("Action", action), ("Version", "2010-05-08")];
        let pairs = pairs.iter().chain(given);
        let pairs = pairs.map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&").into_bytes();
        let call = Call {
            method: reqwest::Method::POST,
            path: "/".to_owned(),
            headers: vec![
                ("content-type".to_owned(), FORM.to_owned()),
                ("accept".to_owned(), "text/xml".to_owned()),
            ],
            body: Some(body),
        };
        let reply = self.runtime.block_on(self.service().send(call)).expect("a reply");
        let text = String::from_utf8(reply.body).unwrap();
        assert_eq!(reply.status, 200, "{action}: {text}");
        text
    }

    fn user(&self, name: &str) -> Keys {
        self.call("CreateUser", &[("UserName", name)]);
        self.key(name)
    }

    fn key(&self, name: &str) -> Keys {
        let made = self.call("CreateAccessKey", &[("UserName", name)]);
        (between(&made, "AccessKeyId"), between(&made, "SecretAccessKey"))
    }

    fn policy(&self, name: &str, document: &str) -> String {
        let given = [("PolicyName", name), ("PolicyDocument", document)];
        between(&self.call("CreatePolicy", &given), "Arn")
    }

    fn inline(&self, user: &str, name: &str, document: &str) {
        let given = [("UserName", user), ("PolicyName", name), ("PolicyDocument", document)];
        self.call("PutUserPolicy", &given);
    }
}

fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let byte = |byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") };
    value.bytes().map(byte).collect()
}

fn between(xml: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let start = xml.find(&open).unwrap_or_else(|| panic!("no {name} in {xml}")) + open.len();
    xml[start..start + xml[start..].find(&close).unwrap()].to_owned()
}

/// From now on every call must be signed by a key that exists, of a user who may.
fn begin_to_check(admin: &Admin) {
    let post = reqwest::Client::new().post(format!("{}/moto-api/reset-auth", admin.url));
    let status = admin.runtime.block_on(async { post.body("0").send().await.unwrap().status() });
    assert!(status.is_success());
}

struct Site {
    directory: Directory,
    admin: Admin,
    bot: Keys,
    reader: Keys,
    nobody: Keys,
    deploy: String,
}

/// Users, keys, a group and policies; made before anything is checked.
fn site(server: &Server) -> Site {
    let url = format!("http://127.0.0.1:{}", server.port);
    let keys = ("AKIANOBODYCHECKSIT00".to_owned(), "secret".to_owned());
    let mut admin = Admin { runtime: Runtime::new().unwrap(), url, keys };
    let (bot, reader, nobody) = (admin.user("ci-bot"), admin.user("reader"), admin.user("nobody"));
    let own = admin.user("admin");
    admin.inline("admin", "all", ALL);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("enrichers/aws_iam/policy.json");
    admin.inline("reader", "lookups", &std::fs::read_to_string(file).unwrap());
    let deploy = admin.policy("deploy", DEPLOY);
    admin.call("AttachUserPolicy", &[("UserName", "ci-bot"), ("PolicyArn", &deploy)]);
    admin.inline("ci-bot", "own", DEPLOY);
    admin.call("CreateGroup", &[("GroupName", "ops")]);
    admin.call("AddUserToGroup", &[("GroupName", "ops"), ("UserName", "ci-bot")]);
    admin.call("AttachGroupPolicy", &[("GroupName", "ops"), ("PolicyArn", &deploy)]);
    let given = [("GroupName", "ops"), ("PolicyName", "shared"), ("PolicyDocument", DEPLOY)];
    admin.call("PutGroupPolicy", &given);
    let given =
        [("UserName", "ci-bot"), ("Tags.member.1.Key", "team"), ("Tags.member.1.Value", "web")];
    admin.call("TagUser", &given);
    admin.keys = own;
    begin_to_check(&admin);
    let directory = Directory::new("aws");
    std::fs::write(directory.0.join("tipstaff.yaml"), config(&admin.url)).unwrap();
    Site { directory, admin, bot, reader, nobody, deploy }
}

impl Site {
    fn asked_by(&self, (id, secret): (&str, &str), key: &str) -> Value {
        lookup(&self.directory.0, &[("ID", id), ("SECRET", secret)], &["aws_iam", key])
    }

    fn ask(&self, key: &str) -> Value {
        self.asked_by((&self.reader.0, &self.reader.1), key)
    }

    fn values(&self, key: &str) -> Value {
        let row = self.ask(key);
        assert_eq!(row["state"], "known", "{row}");
        row["values"].clone()
    }
}

#[test]
fn an_access_key_is_looked_up_in_iam() {
    let arguments =
        |port: u16| ["-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned).into();
    let Some(server) = Server::start("moto_server", arguments) else { return };
    let site = site(&server);
    let arn = "arn:aws:iam::123456789012";
    let first = site.values(&site.bot.0);
    assert_eq!(first["user"], "ci-bot");
    assert_eq!(first["arn"], format!("{arn}:user/ci-bot"));
    assert_eq!((&first["status"], &first["admin"]), (&"Active".into(), &false.into()));
    assert_eq!(first["tags"], "team=web");
    assert!(first["created"].is_string() && first["last_used"].is_null(), "{first}");
    assert_eq!(
        first["policies"],
        format!("group/ops: {arn}:policy/deploy, shared; user/ci-bot: {arn}:policy/deploy, own")
    );
    assert_eq!(first["permissions_digest"].as_str().map(str::len), Some(64));
    assert_eq!(site.values(&site.bot.0), first, "the same permissions have the same digest");
    let reader = site.values(&site.reader.0);
    assert_eq!((&reader["last_used_service"], &reader["admin"]), (&"iam".into(), &false.into()));
    assert!(reader["last_used"].is_string(), "{reader}");

    what_is_not_there_is_absent(&site);
    what_is_refused_is_unknown(&site);
    every_change_of_permissions_changes_the_digest(&site, &first);
    long_lists_are_read_to_their_end(&site);
}

fn what_is_not_there_is_absent(site: &Site) {
    for key in ["AKIANOTTHERE00000000", "fp:k1:00", "ghp_x", "AKIA", "AKIAnotthere00000000"] {
        assert_eq!(site.ask(key)["state"], "absent", "{key}");
    }
}

fn what_is_refused_is_unknown(site: &Site) {
    for (id, secret) in [
        (site.reader.0.as_str(), "wrong"),
        ("AKIANOTTHERE00000000", site.reader.1.as_str()),
        (&site.nobody.0, &site.nobody.1),
    ] {
        let row = site.asked_by((id, secret), &site.bot.0);
        assert_eq!((&row["state"], &row["why"]), (&"unknown".into(), &"error".into()), "{row}");
        let detail = row["detail"].as_str().unwrap();
        assert_eq!(detail, "GetAccessKeyLastUsed: service `aws`: the answer was 403 Forbidden");
        assert!(!row.to_string().contains(secret), "{row}");
    }
}

fn every_change_of_permissions_changes_the_digest(site: &Site, first: &Value) {
    let admin = &site.admin;
    let mut seen = vec![first["permissions_digest"].clone()];
    let mut changed = |what: &str| {
        let now = site.values(&site.bot.0);
        assert!(!seen.contains(&now["permissions_digest"]), "{what}: {now}");
        seen.push(now["permissions_digest"].clone());
        now
    };
    let given =
        [("PolicyArn", site.deploy.as_str()), ("PolicyDocument", MORE), ("SetAsDefault", "true")];
    admin.call("CreatePolicyVersion", &given);
    changed("a new version of a managed policy");
    admin.inline("ci-bot", "own", MORE);
    changed("an inline policy edited");
    let given = [("GroupName", "ops"), ("PolicyName", "shared"), ("PolicyDocument", ALL)];
    admin.call("PutGroupPolicy", &given);
    assert_eq!(changed("a group's policy edited")["admin"], true);
    admin.call("RemoveUserFromGroup", &[("GroupName", "ops"), ("UserName", "ci-bot")]);
    let last = changed("out of a group");

    let given = [("UserName", "ci-bot"), ("AccessKeyId", &site.bot.0), ("Status", "Inactive")];
    admin.call("UpdateAccessKey", &given);
    let now = site.values(&site.bot.0);
    assert_eq!(now["status"], "Inactive");
    assert_eq!(now["permissions_digest"], last["permissions_digest"], "a status is no permission");
}

/// moto gives a hundred policies a page.
fn long_lists_are_read_to_their_end(site: &Site) {
    for n in 0..101 {
        let arn = site.admin.policy(&format!("many-{n:03}"), DEPLOY);
        let given = [("UserName", "nobody"), ("PolicyArn", arn.as_str())];
        site.admin.call("AttachUserPolicy", &given);
    }
    site.admin.call("AttachUserPolicy", &[("UserName", "nobody"), ("PolicyArn", &site.deploy)]);
    let before = site.values(&site.nobody.0)["permissions_digest"].clone();
    let last = [("UserName", "nobody"), ("PolicyArn", site.deploy.as_str())];
    site.admin.call("DetachUserPolicy", &last);
    assert_ne!(site.values(&site.nobody.0)["permissions_digest"], before);
}
