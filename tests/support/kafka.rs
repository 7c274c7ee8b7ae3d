//! One real Apache Kafka broker on loopback, for tests. The jars come from Maven Central once and
//! are kept under `~/.cache/tipstaff-kafka`.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::ffi::OsString;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[path = "ports.rs"]
mod ports;
#[path = "skipped.rs"]
mod skipped;
pub use ports::{chance, free_ports};
pub use skipped::skipped;

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tipstaff.test</groupId>
  <artifactId>broker</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.5</version></dependency>
  </dependencies>
  <build><plugins><plugin><artifactId>maven-dependency-plugin</artifactId><version>3.8.1</version></plugin></plugins></build>
</project>
"#;

/// A running broker. Dropping it ends its own process and removes its data.
pub struct Kafka {
    dir: PathBuf,
    jars: PathBuf,
    port: u16,
    proxied: Vec<u16>,
    child: Option<Child>,
}

impl Kafka {
    /// Starts a broker with one direct listener and one more for each of `advertised`: a port on
    /// which a proxy listens, so that clients that come through it stay behind it.
    ///
    /// `None`, after one line that says why, where Kafka cannot run.
    pub fn start(advertised: &[u16]) -> Option<Kafka> {
        let jars = match install() {
            Ok(jars) => jars,
            Err(why) => {
                skipped(&format!("no Kafka broker here: {why}"));
                return None;
            }
        };
        let dir = std::env::temp_dir().join(format!("tipstaff-broker-{:016x}", chance()));
        fs::create_dir_all(&dir).unwrap();
        let mut ports = free_ports(2 + advertised.len()).into_iter();
        let (port, controller) = (ports.next().unwrap(), ports.next().unwrap());
        let mut kafka = Kafka { dir, jars, port, proxied: ports.collect(), child: None };
        kafka.configure(controller, advertised);
        kafka.format();
        kafka.resume();
        Some(kafka)
    }

    /// What the tool writes is the same for each broker, and it takes as long as a broker's start.
    fn format(&self) {
        static FORMATTED: Mutex<Vec<(OsString, Vec<u8>)>> = Mutex::new(Vec::new());
        let mut formatted = FORMATTED.lock().unwrap();
        let data = self.dir.join("data");
        if formatted.is_empty() {
            self.java("256m", &["kafka.tools.StorageTool", "format", "-t"])
                .args(["dGlwc3RhZmYtdGVzdC0wMA", "-c"])
                .arg(self.dir.join("server.properties"))
                .stdout(Stdio::null())
                .status()
                .unwrap();
            for file in fs::read_dir(data).unwrap().map(Result::unwrap) {
                formatted.push((file.file_name(), fs::read(file.path()).unwrap()));
            }
        } else {
            fs::create_dir_all(&data).unwrap();
            formatted.iter().for_each(|(name, text)| fs::write(data.join(name), text).unwrap());
        }
    }

    /// For a broker that is never dropped.
    pub fn end_with_this_process(&self) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let is_kept = std::env::var_os("TIPSTAFF_KEEP_BROKER").is_some();
        // What it reads ends with this process, however that ends.
        let after = Command::new("sh")
            .args(["-c", "cat; kill -9 \"$0\"; sleep 1; [ -z \"$1\" ] || rm -rf \"$1\"", &id])
            .arg(if is_kept { Path::new("") } else { &self.dir })
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        std::mem::forget(after.unwrap());
    }

    /// The address of the listener that no proxy is in front of.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The broker's own ports behind the advertised ones, in their order.
    pub fn proxied(&self) -> &[u16] {
        &self.proxied
    }

    /// Starts the process again on the same data, and waits until it answers.
    pub fn resume(&mut self) {
        let log = self.dir.join("server.log");
        fs::write(&log, "").unwrap();
        let out = fs::File::create(self.dir.join("out.log")).unwrap();
        let child = self
            .java("512m", &["kafka.Kafka"])
            .arg(self.dir.join("server.properties"))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            if text.contains("Kafka Server started")
                && TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            {
                return;
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            if ended.is_some() || began.elapsed() > Duration::from_secs(90) {
                let tail: Vec<&str> = text.lines().rev().take(15).collect();
                panic!("the broker did not start: {tail:#?}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// An orderly stop; the data stays.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > Duration::from_secs(20) {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it in its tracks (SIGSTOP), connections open, or lets it go on.
    pub fn freeze(&self, is_frozen: bool) {
        let signal = if is_frozen { "-STOP" } else { "-CONT" };
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    fn java(&self, heap: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("java");
        command
            .arg(format!("-Xmx{heap}"))
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"])
            .arg(format!(
                "-Dlog4j2.configurationFile={}",
                self.dir.join("log4j2.properties").display()
            ))
            .arg("-cp")
            .arg(format!("{}/*", self.jars.display()))
            .args(arguments);
        command
    }

    fn configure(&self, controller: u16, advertised: &[u16]) {
        let mut listeners = format!("DIRECT://127.0.0.1:{}", self.port);
        let mut outside = listeners.clone();
        let mut protocols = "CONTROLLER:PLAINTEXT,DIRECT:PLAINTEXT".to_owned();
        for (at, (own, proxy)) in self.proxied.iter().zip(advertised).enumerate() {
            listeners += &format!(",PROXY{at}://127.0.0.1:{own}");
            outside += &format!(",PROXY{at}://127.0.0.1:{proxy}");
            protocols += &format!(",PROXY{at}:PLAINTEXT");
        }
        let data = self.dir.join("data");
        let properties = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners={listeners},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners={outside}\n\
             listener.security.protocol.map={protocols}\n\
             inter.broker.listener.name=DIRECT\n\
             controller.listener.names=CONTROLLER\n\
             log.dirs={}\n\
             num.partitions=4\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=4\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=4\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             share.coordinator.state.topic.num.partitions=4\n\
             group.initial.rebalance.delay.ms=0\n\
             auto.create.topics.enable=true\n\
             message.max.bytes=9437184\n\
             replica.fetch.max.bytes=9437184\n\
             log.cleaner.dedupe.buffer.size=8388608\n\
             log.segment.delete.delay.ms=1000\n\
             num.network.threads=2\n\
             num.io.threads=4\n",
            data.display()
        );
        fs::write(self.dir.join("server.properties"), properties).unwrap();
        let log = self.dir.join("server.log");
        fs::write(
            self.dir.join("log4j2.properties"),
            format!(
                "rootLogger.level=INFO\nrootLogger.appenderRef.f.ref=F\nappender.f.type=File\n\
                 appender.f.name=F\nappender.f.fileName={}\nappender.f.layout.type=PatternLayout\n\
                 appender.f.layout.pattern=[%d] %p %m (%c)%n\n",
                log.display()
            ),
        )
        .unwrap();
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.kill();
        if std::env::var_os("TIPSTAFF_KEEP_BROKER").is_none() {
            fs::remove_dir_all(&self.dir).ok();
        }
    }
}

fn is_there(tool: &str) -> Result<(), String> {
    let mut command = Command::new(tool);
    command.arg("-version").stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    if is_there { Ok(()) } else { Err(format!("`{tool}` is not installed")) }
}

fn install() -> Result<PathBuf, String> {
    is_there("java")?;
    let home = std::env::var_os("HOME").ok_or("HOME is not set")?;
    let cache = Path::new(&home).join(".cache/tipstaff-kafka");
    let jars = cache.join("4.3.1");
    if jars.is_dir() {
        return Ok(jars);
    }
    is_there("mvn")?;
    let new = cache.join(format!("new-{:016x}", chance()));
    fs::create_dir_all(&new).map_err(|error| error.to_string())?;
    fs::write(new.join("pom.xml"), POM).map_err(|error| error.to_string())?;
    // A registry may be slow for a moment.
    for pause in [2, 5, 0] {
        let output = Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(new.join("pom.xml"))
            .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", new.display()))
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            // Another test process may have been faster; its jars are as good.
            fs::rename(&new, &jars).ok();
            return if jars.is_dir() { Ok(jars) } else { Err("no jars".to_owned()) };
        }
        std::thread::sleep(Duration::from_secs(pause));
    }
    fs::remove_dir_all(&new).ok();
    Err("maven could not fetch its jars".to_owned())
}
