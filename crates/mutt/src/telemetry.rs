//! Logs: text for people on a terminal, one JSON object per line for machines. What repeats itself
//! is rate-limited and counted: a disk that is full for an hour must not fill another.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

type Handle = reload::Handle<EnvFilter, Registry>;

static FILTER: OnceLock<Handle> = OnceLock::new();

fn filter(level: &str) -> EnvFilter {
    // The libraries below us speak of every connection at info.
    let directives = if level.contains('=') {
        level.to_owned()
    } else {
        format!("{level},hyper=warn,reqwest=warn,rustls=warn,h2=warn")
    };
    EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Begins to log to standard error.
pub fn init(level: &str, json: bool, pod: &str) {
    repeats::JSON.store(json, std::sync::atomic::Ordering::Relaxed);
    let (filter, handle) = reload::Layer::new(filter(level));
    let writer = std::io::stderr;
    let limit =
        dynamic_filter_fn(|metadata, _| repeats::may_log(metadata.callsite(), *metadata.level()));
    let layer = if json {
        tracing_subscriber::fmt::layer()
            .event_format(json_lines::JsonLines::new(pod))
            .with_writer(writer)
            .with_filter(limit)
            .boxed()
    } else {
        tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(writer)
            .with_filter(limit)
            .boxed()
    };
    if tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init()
        .is_ok()
    {
        let _ = FILTER.set(handle);
    }
}

/// Logs at another level from now on.
pub fn set_level(level: &str) {
    if let Some(handle) = FILTER.get() {
        let _ = handle.reload(filter(level));
    }
}

mod repeats {
    //! At most ten lines in ten seconds from one place in the program, warnings and worse; then how
    //! many were left out.

    use std::collections::HashMap;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{LazyLock, Mutex, PoisonError};
    use std::time::{Duration, Instant};

    use tracing::Level;
    use tracing::callsite::Identifier;

    const MOST: u32 = 10;
    const WINDOW: Duration = Duration::from_secs(10);

    struct Place {
        since: Instant,
        said: u32,
    }

    /// Whether lines are JSON.
    pub static JSON: AtomicBool = AtomicBool::new(false);

    static PLACES: LazyLock<Mutex<HashMap<Identifier, Place>>> = LazyLock::new(Mutex::default);

    /// Whether the place may say one more line now.
    pub fn may_log(place: Identifier, level: Level) -> bool {
        if level > Level::WARN {
            return true;
        }
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let state = places.entry(place).or_insert(Place {
            since: now,
            said: 0,
        });
        if now.duration_since(state.since) >= WINDOW {
            let left_out = state.said.saturating_sub(MOST);
            *state = Place {
                since: now,
                said: 0,
            };
            if left_out > 0 {
                // Through the subscriber it would come back here.
                if JSON.load(Ordering::Relaxed) {
                    eprintln!(
                        r#"{{"level":"WARN","message":"{left_out} more like the next line"}}"#
                    );
                } else {
                    eprintln!("({left_out} more like the next line)");
                }
            }
        }
        state.said += 1;
        state.said <= MOST
    }
}

mod json_lines {
    //! One JSON object per line: timestamp, level, service, pod, message and the event's fields
    //! (`correlation_id` among them) at the top.

    use std::fmt;

    use serde_json::{Map, Value};
    use tracing::field::{Field, Visit};
    use tracing::{Event, Subscriber};
    use tracing_subscriber::fmt::format::Writer;
    use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
    use tracing_subscriber::registry::LookupSpan;

    /// The format.
    #[derive(Debug)]
    pub struct JsonLines {
        pod: String,
    }

    impl JsonLines {
        pub fn new(pod: &str) -> Self {
            Self {
                pod: pod.to_owned(),
            }
        }
    }

    impl<S, N> FormatEvent<S, N> for JsonLines
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        N: for<'a> FormatFields<'a> + 'static,
    {
        fn format_event(
            &self,
            _: &FmtContext<'_, S, N>,
            mut writer: Writer<'_>,
            event: &Event<'_>,
        ) -> fmt::Result {
            let mut fields = Fields(Map::new());
            fields.0.insert(
                "timestamp".into(),
                jiff::Timestamp::now().to_string().into(),
            );
            let metadata = event.metadata();
            fields
                .0
                .insert("level".into(), metadata.level().as_str().into());
            // The crate that speaks is the service: mutt_alerter says "alerter".
            let target = metadata.target().split("::").next().unwrap_or_default();
            let service = target.strip_prefix("mutt_").unwrap_or(target);
            fields.0.insert("service".into(), service.into());
            fields.0.insert("pod".into(), self.pod.as_str().into());
            event.record(&mut fields);
            writeln!(writer, "{}", Value::Object(fields.0))
        }
    }

    struct Fields(Map<String, Value>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0
                .insert(field.name().into(), format!("{value:?}").into());
        }
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name().into(), value.into());
        }
        fn record_u64(&mut self, field: &Field, value: u64) {
            self.0.insert(field.name().into(), value.into());
        }
        fn record_i64(&mut self, field: &Field, value: i64) {
            self.0.insert(field.name().into(), value.into());
        }
        fn record_f64(&mut self, field: &Field, value: f64) {
            self.0.insert(field.name().into(), value.into());
        }
        fn record_bool(&mut self, field: &Field, value: bool) {
            self.0.insert(field.name().into(), value.into());
        }
    }
}
