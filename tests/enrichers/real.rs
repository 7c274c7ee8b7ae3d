//! Against a real Vault (or OpenBao) and a real Backstage, where the environment names one on this
//! machine. Vault: a server for tests, with a key-value engine of version 2 at `secret/`, as `-dev`
//! has.

use std::env::var;

use reqwest::Method;
use serde_json::{Value, json};
use tipstaff::case::FactRow;
use tokio::runtime::Runtime;

use crate::site::{ServiceFile, Site, state};
use crate::skipped::skipped;

/// Address and token; nothing, after one line that says so, where the environment names none.
fn named(what: &str, address: &str, token: &str) -> Option<(String, String)> {
    let found = var(address).ok().zip(var(token).ok());
    if found.is_none() {
        skipped(&format!("{address} and {token} name no {what} to test against"));
    }
    found
}

fn values(row: &FactRow) -> Value {
    let read: Value = serde_json::from_str(row.json().get()).unwrap();
    assert_eq!(state(row), "known", "{read}");
    read["values"].clone()
}

struct Vault {
    runtime: Runtime,
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Vault {
    fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let request = self.client.request(method, format!("{}/v1/{path}", self.url));
        let request = request.header("X-Vault-Token", &self.token);
        let request = request.header("Content-Type", "application/json").body(body.to_string());
        let text = self.runtime.block_on(async {
            let reply = request.send().await.unwrap();
            assert!(reply.status().is_success(), "{path}: {}", reply.status());
            reply.text().await.unwrap()
        });
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}

#[test]
fn a_real_vault() {
    let names = ("TIPSTAFF_TEST_VAULT_ADDR", "TIPSTAFF_TEST_VAULT_TOKEN");
    let Some((url, token)) = named("Vault", names.0, names.1) else { return };
    let (runtime, client) = (Runtime::new().unwrap(), reqwest::Client::new());
    let vault = Vault { runtime, client, url: url.clone(), token: token.clone() };
    let path = format!("tipstaff-test/{}", std::process::id());
    let columns = ["managed", "current_version", "state", "created", "deleted", "expires"];
    let columns = columns.iter().chain(&["rotation", "policies", "last_read"]);
    let all: String = columns.map(|column| format!(",\"{column}\":null")).collect();
    let row = |name: &str, version: u8| {
        format!(
            "{{\"credential\":\"{name}\",\"path\":\"secret/{path}\",\"version\":{version}{all}}}\n"
        )
    };
    let table = row("first", 1) + &row("second", 2);
    let paths = format!("nhi_id,path\nnhi,secret/{path}\n");
    let service = ServiceFile {
        name: "vault",
        url: &url,
        config: "headers: {X-Vault-Token: {file: vault}}",
        secret: &token,
    };
    let tables =
        [("enrichers/vault/vault.ndjson", &*table), ("enrichers/rotation/paths.csv", &paths)];
    let site = Site::new(&[service], &tables);

    secrets(&vault, &site, &path);
    tokens_and_leases(&vault, &site);
}

fn secrets(vault: &Vault, site: &Site, path: &str) {
    let of = |key: &str| values(&site.fact("vault", &[key]));
    assert_eq!(of("first")["state"], "gone");
    for value in ["one", "two"] {
        let body = json!({"data": {"key": value}});
        vault.call(Method::POST, &format!("secret/data/{path}"), body);
    }
    let custom = json!({"custom_metadata": {"rotation": "90d", "rotation_in_progress": "true"}});
    vault.call(Method::POST, &format!("secret/metadata/{path}"), custom);
    let first = of("first");
    assert_eq!((&first["state"], &first["current_version"]), (&json!("superseded"), &json!(2)));
    let second = of("second");
    assert_eq!((&second["state"], &second["managed"]), (&json!("active"), &json!(true)));
    assert!(second["created"].is_string() && second["rotation"] == "90d", "{second}");
    let rotation = values(&site.fact("rotation", &["nhi"]));
    assert_eq!((&rotation["policy_days"], &rotation["overdue"]), (&json!(90), &json!(false)));
    assert_eq!(rotation["in_progress"], true);
    let versions = json!({"versions": [2]});
    vault.call(Method::POST, &format!("secret/delete/{path}"), versions.clone());
    assert_eq!(of("second")["state"], "deleted");
    vault.call(Method::PUT, &format!("secret/destroy/{path}"), versions);
    assert_eq!(of("second")["state"], "destroyed");
    vault.call(Method::DELETE, &format!("secret/metadata/{path}"), json!({}));
    assert_eq!(of("second")["state"], "gone");
}

fn tokens_and_leases(vault: &Vault, site: &Site) {
    let of = |key: &str| values(&site.fact("vault", &[key]));
    let body = json!({"policies": ["default"], "ttl": "1h"});
    let made = vault.call(Method::POST, "auth/token/create", body);
    let accessor = made["auth"]["accessor"].as_str().unwrap();
    let key = format!("vault:{accessor}");
    let token = of(&key);
    assert_eq!((&token["state"], &token["policies"]), (&json!("active"), &json!("default")));
    assert!(token["expires"].is_string(), "{token}");
    vault.call(Method::POST, "auth/token/revoke-accessor", json!({"accessor": accessor}));
    assert_eq!(of(&key)["state"], "gone");
    assert_eq!(of("vault:lease:database/creds/x/nosuch")["state"], "gone");
}

#[test]
fn a_real_backstage() {
    let names = ("TIPSTAFF_TEST_BACKSTAGE_URL", "TIPSTAFF_TEST_BACKSTAGE_TOKEN");
    let Some((url, token)) = named("Backstage", names.0, names.1) else { return };
    let entity = var("TIPSTAFF_TEST_BACKSTAGE_COMPONENT");
    let entity =
        entity.expect("the name of a component of its default namespace that has an owner");
    let service = |secret| ServiceFile {
        name: "backstage",
        url: &url,
        config: "bearer: {file: backstage}",
        secret,
    };
    let table = format!(
        "nhi_id,kind,namespace,name\nnhi,component,default,{entity}\n\
         gone,component,default,no-such-component\n"
    );
    let tables = [("enrichers/owner/entities.csv", &*table)];
    let site = Site::new(&[service(&token)], &tables);
    assert!(values(&site.fact("owner", &["nhi"]))["team"].is_string());
    assert_eq!(state(&site.fact("owner", &["gone"])), "absent");
    let site = Site::new(&[service("wrong")], &tables);
    let row = site.fact("owner", &["nhi"]);
    assert!(row.detail.as_ref().is_some_and(|detail| detail.contains("401")), "{row:?}");
}
