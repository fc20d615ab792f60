//! Where events come in: each listener's options from the settings, each listener onto its address.
//! Wiring only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mutt_config::ListenAddr;
use mutt_config::settings::Overflow;
use mutt_event::json::RequiredFields;
use mutt_http::{Limits, Tls, TlsOptions};
use mutt_ingest::http::{HttpIngest, HttpOptions};
use mutt_ingest::relp::{Relp, RelpOptions};
use mutt_ingest::snmp::{SnmpOptions, SnmpTraps, SnmpUsers};
use mutt_ingest::syslog_stream::{SyslogTcp, SyslogTcpOptions};
use mutt_ingest::syslog_udp::{SyslogUdp, SyslogUdpOptions};
use mutt_ingest::trap_names::{NameFiles, TrapNames};
use mutt_ingest::{Admission, Door, DoorOptions, IngestMetrics, Listener};
use prometheus_client::registry::Registry;

use super::Role;
use super::admin;
use super::build::Build;
use crate::certificates;
use crate::context::Context;
use crate::exit::{Failure, Outcome};

/// How often files that may change are looked at.
const FILE_WATCH: Duration = Duration::from_secs(5);

/// Where in the data directory the identity as an SNMP engine is kept.
const SNMP_ENGINE_FILE: &str = "snmp-engine.toml";

/// What is to be read again when asked for.
#[derive(Default)]
pub(super) struct Files {
    pub(super) certificates: Vec<Arc<Tls>>,
    pub(super) snmp_users: Option<Arc<SnmpUsers>>,
    pub(super) trap_names: Option<Arc<TrapNames>>,
}

impl Files {
    /// Reads all again. Where one cannot be taken, what it said before holds.
    pub(super) fn reload(&self) {
        for tls in &self.certificates {
            if let Err(error) = tls.reload() {
                tracing::error!(%error, "the certificate in use stays as it is");
            }
        }
        if let Some(users) = &self.snmp_users {
            users.tell(&users.reload());
        }
        if let Some(names) = self.trap_names.clone() {
            // MIB files may take seconds; traps keep the names they have meanwhile.
            tokio::task::spawn_blocking(move || names.reload());
        }
    }
}

impl Build<'_> {
    /// Opens every listener.
    pub(super) fn doors(
        &self,
        context: &Context,
        metrics: IngestMetrics,
        door: Door,
        registry: Arc<Registry>,
    ) -> Outcome<Files> {
        let admission = Admission::new(self.engine.clone(), metrics).with_door(door.clone());
        let grace = Duration::from_secs(self.settings.shutdown_grace_seconds);
        self.spawn(door.run(
            admission.clone(),
            self.dynamic.clone(),
            self.stop.clone(),
            grace,
        ));
        {
            let (admission, dynamic, stop) =
                (admission.clone(), self.dynamic.clone(), self.stop.clone());
            self.spawn(async move { admission.run(dynamic, stop).await });
        }
        let mut files = Files::default();
        self.syslog_udp(&admission)?;
        self.syslog_tcp(&admission)?;
        self.syslog_tls(&admission, &mut files.certificates)?;
        self.relp(&admission, &mut files.certificates)?;
        self.snmp(context, &admission, &mut files)?;
        self.http(context, admission, registry, &mut files.certificates)?;
        Ok(files)
    }

    /// What happens to events whichever listener they come through.
    pub(super) fn door(&self, metrics: &IngestMetrics) -> Outcome<Door> {
        let settings = self.settings;
        let options = DoorOptions {
            senders_file: settings.senders_file.clone(),
            hosts_file: settings.hosts_file.clone(),
            reverse_dns: settings.reverse_dns,
        };
        Door::open(&options, metrics.clone()).map_err(Failure::problem)
    }

    fn syslog_udp(&self, admission: &Admission) -> Outcome {
        let settings = self.settings;
        let Some(addr) = settings.syslog_udp_addr.resolve(settings.bind_address) else {
            return Ok(());
        };
        let options = SyslogUdpOptions {
            max_line: self.max_line(),
            ..SyslogUdpOptions::new(addr)
        };
        let udp = SyslogUdp::bind(options, admission.clone()).map_err(Failure::failed)?;
        self.process.opened(Listener::SyslogUdp, udp.local_addr());
        self.spawn(udp.run(self.stop_ingest.clone()));
        Ok(())
    }

    fn syslog_tcp(&self, admission: &Admission) -> Outcome {
        let settings = self.settings;
        let Some(addr) = settings.syslog_tcp_addr.resolve(settings.bind_address) else {
            return Ok(());
        };
        let options = self.syslog_stream(addr);
        let tcp = SyslogTcp::bind(options, admission.clone()).map_err(Failure::failed)?;
        self.process.opened(Listener::SyslogTcp, tcp.local_addr());
        self.spawn(tcp.run(self.stop_ingest.clone()));
        Ok(())
    }

    fn syslog_tls(&self, admission: &Admission, loaded: &mut Vec<Arc<Tls>>) -> Outcome {
        let settings = self.settings;
        let Some(addr) = settings.syslog_tls_addr.resolve(settings.bind_address) else {
            return Ok(());
        };
        let Some(tls) = self.sender_tls()? else {
            tracing::info!(
                "syslog over TLS is not open: there is no certificate (SYSLOG_TLS_CERT_FILE, \
                 SYSLOG_TLS_KEY_FILE)"
            );
            return Ok(());
        };
        loaded.push(tls.clone());
        let options = SyslogTcpOptions {
            tls: Some(tls),
            ..self.syslog_stream(addr)
        };
        let listener = SyslogTcp::bind(options, admission.clone()).map_err(Failure::failed)?;
        self.process
            .opened(Listener::SyslogTls, listener.local_addr());
        self.spawn(listener.run(self.stop_ingest.clone()));
        Ok(())
    }

    /// RELP, plain and over TLS. Without a certificate the settings ask for none over TLS.
    fn relp(&self, admission: &Admission, loaded: &mut Vec<Arc<Tls>>) -> Outcome {
        let settings = self.settings;
        let mut open = |addr: ListenAddr, tls: Option<Arc<Tls>>| -> Outcome {
            let Some(addr) = addr.resolve(settings.bind_address) else {
                return Ok(());
            };
            loaded.extend(tls.clone());
            let options = RelpOptions {
                max_line: self.max_line(),
                tls,
                ..RelpOptions::new(addr)
            };
            let relp = Relp::bind(options, admission.clone()).map_err(Failure::failed)?;
            self.process.opened(Listener::Relp, relp.local_addr());
            self.spawn(relp.run(self.stop_ingest.clone()));
            Ok(())
        };
        open(settings.relp_addr, None)?;
        if settings.relp_tls_addr != ListenAddr::Off
            && let Some(tls) = self.sender_tls()?
        {
            open(settings.relp_tls_addr, Some(tls))?;
        }
        Ok(())
    }

    /// The certificate that senders see, and who of them may connect; nothing where there is none.
    fn sender_tls(&self) -> Outcome<Option<Arc<Tls>>> {
        let Some(options) = certificates::of_senders(self.settings) else {
            return Ok(None);
        };
        self.tls(options, &[]).map(Some)
    }

    fn snmp(&self, context: &Context, admission: &Admission, files: &mut Files) -> Outcome {
        let settings = self.settings;
        let Some(addr) = settings.snmp_trap_addr.resolve(settings.bind_address) else {
            return Ok(());
        };
        let users = if let Some(path) = &settings.snmp_users_file {
            SnmpUsers::load(path.clone()).map_err(Failure::problem)?
        } else {
            tracing::info!(
                "SNMP: traps of versions 1 and 2c are taken from any community, and none of \
                 version 3 (SNMP_USERS_FILE)"
            );
            SnmpUsers::open()
        };
        let data = context.data_dir();
        // With the servers elsewhere, this may be all that is kept here.
        std::fs::create_dir_all(data).map_err(|error| {
            Failure::failed(format_args!("MUTT_DATA_DIR {}: {error}", data.display()))
        })?;
        let names = TrapNames::new(NameFiles {
            names_file: settings.snmp_names_file.clone(),
            mib_dir: settings.snmp_mib_dir.clone(),
        });
        let options = SnmpOptions {
            names: names.current(),
            ..SnmpOptions::new(addr, data.join(SNMP_ENGINE_FILE))
        };
        let traps =
            SnmpTraps::bind(options, users.clone(), admission.clone()).map_err(Failure::failed)?;
        tracing::info!(
            engine_id = %traps.engine().id(), boots = traps.engine().boots(),
            "SNMP: who sends informs finds this engine"
        );
        self.process.opened(Listener::SnmpTrap, traps.local_addr());
        self.spawn(traps.run(self.stop_ingest.clone()));
        self.spawn(users.clone().follow(FILE_WATCH, self.stop.clone()));
        self.spawn(names.clone().run(FILE_WATCH, self.stop.clone()));
        files.snmp_users = Some(users);
        files.trap_names = Some(names);
        Ok(())
    }

    /// What syslog streams have in common.
    fn syslog_stream(&self, addr: SocketAddr) -> SyslogTcpOptions {
        SyslogTcpOptions {
            max_line: self.max_line(),
            overflow: match self.settings.syslog_tcp_overflow {
                Overflow::Backpressure => mutt_ingest::Overflow::Backpressure,
                Overflow::Shed => mutt_ingest::Overflow::Shed,
            },
            ..SyslogTcpOptions::new(addr)
        }
    }

    fn max_line(&self) -> usize {
        usize::try_from(self.settings.syslog_max_line).unwrap_or(usize::MAX)
    }

    fn http(
        &self,
        context: &Context,
        admission: Admission,
        registry: Arc<Registry>,
        loaded: &mut Vec<Arc<Tls>>,
    ) -> Outcome {
        let settings = self.settings;
        if settings.server_port_ingestor == 0 {
            return Ok(());
        }
        let options = HttpOptions {
            max_body_bytes: usize::try_from(settings.max_body_bytes).unwrap_or(usize::MAX),
            required: RequiredFields::parse(&settings.required_fields),
            ..HttpOptions::default()
        };
        let ingest = HttpIngest::new(
            options,
            admission,
            self.dynamic.clone(),
            self.keys.ingest.clone(),
            registry,
            admin::config(context, self.dynamic.clone(), self.secrets.clone()),
        )
        .with_health(self.process.role(Role::Ingestor));
        let addr = SocketAddr::new(settings.bind_address, settings.server_port_ingestor);
        let mut server = mutt_http::Server::bind(addr, Limits::default())
            .map_err(Failure::failed)?
            .with_metrics(self.http.server(Role::Ingestor.about().service));
        if let Some(options) = certificates::of_https(settings) {
            let tls = self.tls(options, mutt_http::ALPN_HTTP1)?;
            server = server.with_tls(tls.clone());
            loaded.push(tls);
        }
        self.process.opened(Listener::Http, server.local_addr());
        self.spawn(server.run(ingest.service(), self.stop_ingest.clone()));
        Ok(())
    }

    /// Reads a certificate and follows its files.
    fn tls(&self, options: TlsOptions, alpn: &[&[u8]]) -> Outcome<Arc<Tls>> {
        let tls = Arc::new(Tls::load(options, alpn).map_err(Failure::problem)?);
        self.spawn(tls.clone().watch(FILE_WATCH, self.stop.clone()));
        Ok(tls)
    }
}
