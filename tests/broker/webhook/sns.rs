//! Amazon SNS on its own host's name, behind a proxy that leads every name to this machine.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use serde_json::{Value, json};
use tipstaff::case::Millis;

use super::client::{Hook, Reply, seconds};
use super::{alerts, of_webhook, written};
use crate::deployment::Process;
use crate::kafka::free_ports;
use crate::planted::base64;
use crate::product::{PATIENCE, Site, drains};
use crate::rig::wait_until;
use crate::seats;

const FINDING: &str = include_str!("../../../pipelines/aws-guardduty/examples/event-bridge.json");
const ARN: &str = "arn:aws:sns:eu-west-1:111122223333:guardduty";
const HOST: &str = "sns.eu-west-1.amazonaws.com";
const TOKEN: &str = "notareal2336412f37fb687f5d51e6e2425929f5";

/// Amazon SNS in one region.
struct Amazon {
    key: PKey<Private>,
    proxy: String,
    /// Whom a process has to trust.
    root: Vec<u8>,
    is_away: Arc<AtomicBool>,
    confirmed: Arc<AtomicUsize>,
}

fn certificate(name: &str, key: &PKey<Private>) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let subject = subject.build();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.set_pubkey(key).unwrap();
    let names = SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(None, None));
    builder.append_extension(names.unwrap()).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

impl Amazon {
    fn start() -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let own = certificate(HOST, &key);
        let pem = certificate("sns.amazonaws.com", &key).to_pem().unwrap();
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
        acceptor.set_private_key(&key).unwrap();
        acceptor.set_certificate(&own).unwrap();
        let acceptor = acceptor.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let (is_away, confirmed) = (Arc::default(), Arc::default());
        let (away, count) = (Arc::clone(&is_away), Arc::clone(&confirmed));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &acceptor, &pem, &away, &count);
            }
        });
        Self { key, proxy, root: own.to_pem().unwrap(), is_away, confirmed }
    }

    /// With the signature of the rest.
    fn signed(&self, mut body: Value) -> Value {
        body["Timestamp"] = Millis(seconds(0).parse::<i64>().unwrap() * 1000).to_string().into();
        let mut text = String::new();
        for name in
            ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        {
            if let Some(value) = body[name].as_str() {
                text += &format!("{name}\n{value}\n");
            }
        }
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).unwrap();
        let signature = signer.sign_oneshot_to_vec(text.as_bytes()).unwrap();
        body["SignatureVersion"] = "2".into();
        body["Signature"] = base64(&signature).into();
        body["SigningCertURL"] = format!("https://{HOST}/SimpleNotificationService-1.pem").into();
        body
    }

    fn notification(&self, id: &str, arn: &str) -> Value {
        let body =
            json!({"Type": "Notification", "MessageId": id, "TopicArn": arn, "Message": FINDING});
        self.signed(body)
    }

    fn confirmation(&self, kind: &str) -> Value {
        self.signed(json!({
            "Type": kind, "MessageId": kind, "TopicArn": ARN, "Token": TOKEN,
            "Message": "You have chosen.\nVisit the SubscribeURL.",
            "SubscribeURL": format!("https://{HOST}/?Action=ConfirmSubscription&Token={TOKEN}"),
        }))
    }
}

fn serve(
    mut stream: TcpStream,
    acceptor: &SslAcceptor,
    pem: &[u8],
    is_away: &AtomicBool,
    confirmed: &AtomicUsize,
) -> Option<()> {
    let mut asked = String::new();
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    lines.read_line(&mut asked).ok()?;
    assert!(asked.starts_with(&format!("CONNECT {HOST}:443 ")), "{asked}");
    while asked.trim() != "" {
        asked.clear();
        lines.read_line(&mut asked).ok()?;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let mut stream = acceptor.accept(stream).ok()?;
    let mut request = [0; 2048];
    let length = stream.read(&mut request).ok()?;
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let is_certificate = request.starts_with("GET /SimpleNotificationService-1.pem ");
    let confirms = format!("GET /?Action=ConfirmSubscription&Token={TOKEN} ");
    let (head, body) = match () {
        () if is_away.load(SeqCst) => ("503 Service Unavailable", &b""[..]),
        () if is_certificate => ("200 OK", pem),
        () => {
            assert!(request.starts_with(&confirms), "{request}");
            confirmed.fetch_add(1, SeqCst);
            ("200 OK", &b"<ConfirmSubscriptionResponse/>"[..])
        }
    };
    stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    stream.shutdown().ok().map(drop)
}

fn post(hook: &Hook, body: &Value) -> Reply {
    let kind = ("x-amz-sns-message-type".to_owned(), body["Type"].as_str().unwrap().to_owned());
    hook.post("aws-guardduty", &vec![kind], body.to_string().as_bytes())
}

#[test]
fn a_topic_of_amazon_sns_is_confirmed_and_read() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let site = Site::beside_others(&bootstrap, "sns");
    site.create("");
    let amazon = Amazon::start();
    let root = site.deployment.directory.join("root.pem");
    fs::write(&root, &amazon.root).unwrap();
    let hook = Hook(free_ports(1)[0]);
    let (directory, port) = site.config(
        "p1",
        &format!(
            "webhooks:\n  listen: 127.0.0.1:{}\n  in_flight: 1\n  pipelines:\n    \
             aws-guardduty: {{verify: aws-sns, topics: ['{ARN}']}}\n",
            hook.0
        ),
    );
    let environment = [
        ("HTTPS_PROXY", amazon.proxy.clone()),
        ("NO_PROXY", String::new()),
        ("SSL_CERT_FILE", root.display().to_string()),
    ];
    let mut process = Process::start_with(&directory, "intake,triage", port, &[], &environment);
    site.wait_ready(&mut process);

    amazon.is_away.store(true, SeqCst);
    let subscription = amazon.confirmation("SubscriptionConfirmation");
    let reply = post(&hook, &subscription);
    assert!(reply.status == 503 && reply.head.contains("retry-after: "), "{reply:?}");
    amazon.is_away.store(false, SeqCst);
    let reply = post(&hook, &subscription);
    assert_eq!((reply.status, &reply.body["alerts"]), (200, &0.into()), "{}", process.log());
    assert_eq!(amazon.confirmed.load(SeqCst), 1);

    let finding = amazon.notification("notification-1", ARN);
    let reply = post(&hook, &finding);
    assert_eq!((reply.status, &reply.body["alerts"]), (202, &1.into()), "{reply:?}");
    assert_eq!(post(&hook, &finding).body, json!({"duplicate": true}));
    what_amazon_did_not_sign_is_refused(&hook, &amazon, &finding);
    one_too_many_is_asked_to_come_back(&hook, &finding);
    assert_eq!(post(&hook, &amazon.confirmation("UnsubscribeConfirmation")).status, 200);
    assert_eq!(amazon.confirmed.load(SeqCst), 1);

    assert_eq!((alerts(&site).len(), written(&site, "notification-1")), (1, 1));
    assert!(wait_until(PATIENCE, || site.ruled() == 1), "{}", process.log());
    let ruling = &of_webhook(&site, "aws-guardduty")[0];
    assert_eq!(ruling["alert"]["kind"], "token_misuse", "{ruling:#}");
    assert_eq!(ruling["alert"]["nhi"]["id"], "aws:iam:123456789012:user:ci-deployer");
    let log = process.log();
    for told in
        ["confirmed the subscription of", "is no longer subscribed to", "asking Amazon SNS failed"]
    {
        assert!(log.contains(told), "{told}: {log}");
    }
    assert!(!log.contains(TOKEN), "{log}");
    let (_, page) = process.get("/metrics").unwrap();
    let labels = "{pipeline=\"aws-guardduty\",result=\"noted\"}";
    assert!(page.contains(&format!("tipstaff_webhook_deliveries_total{labels} 2")), "{page}");
    drains(&mut process);
}

fn what_amazon_did_not_sign_is_refused(hook: &Hook, amazon: &Amazon, finding: &Value) {
    let other = amazon.notification("n", &ARN.replace("guardduty", "other"));
    let changed = |key: &str, value: &str| {
        let mut body = finding.clone();
        body[key] = value.into();
        body
    };
    let raw = hook.post("aws-guardduty", &vec![], FINDING.as_bytes());
    assert_eq!(raw.status, 401, "{raw:?}");
    for body in [other, changed("Message", "{}"), changed("MessageId", "notification-2")] {
        assert_eq!(post(hook, &body).status, 401, "{body}");
    }
    // What stands beside the signed message is nobody's.
    let mut more = amazon.notification("notification-1", ARN);
    more["detail"] = json!({"type": "UnauthorizedAccess:IAMUser/Forged"});
    assert_eq!(post(hook, &more).body, json!({"duplicate": true}));
}

fn one_too_many_is_asked_to_come_back(hook: &Hook, finding: &Value) {
    let begun = hook.begin("aws-guardduty", &vec![], finding.to_string().as_bytes());
    let is_full = || post(hook, finding).status == 503;
    assert!(wait_until(PATIENCE, is_full), "it is let in");
    assert_eq!(begun.finish().expect("an answer").body, json!({"duplicate": true}));
    // To 408 it would not come back.
    let slow = hook.begin("aws-guardduty", &vec![], finding.to_string().as_bytes()).stall();
    assert_eq!(slow.expect("an answer").status, 503);
}
