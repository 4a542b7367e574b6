//! The file as it is written. Every key has a default; an unknown key is an error.

use serde::{Deserialize, Serialize};

use super::bytes::ByteSize;
use super::memory::MemoryBudget;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Raw {
    pub cluster: Cluster,
    pub node: Vec<Node>,
    pub peer: Peer,
    pub http: Http,
    pub dashboard: Dashboard,
    pub links: Links,
    pub cache: Cache,
    pub catalog: Catalog,
    pub clicks: Clicks,
    pub storage: Storage,
    pub limits: Limits,
    pub janitor: Janitor,
    pub log: Log,
    pub traces: Traces,
}

macro_rules! table {
    ($(#[$attribute:meta])* $name:ident { $($key:ident: $type:ty = $default:expr,)* }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $(pub $key: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }
    };
}

table! {
    /// `[cluster]`
    Cluster {
        name: String = "waypost".to_owned(),
        shards: u32 = 16,
        replicas: u32 = 3,
        moves_max: u32 = 2,
        stale_after_ms: u32 = 1000,
    }
}
table! {
    /// `[[node]]`
    Node {
        name: String = "a".to_owned(),
        http: String = "127.0.0.1:8080".to_owned(),
        admin: String = "127.0.0.1:9090".to_owned(),
        peer: String = "127.0.0.1:7400".to_owned(),
        peer_listen: String = String::new(),
        data_dir: String = "waypost-data".to_owned(),
        zone: String = "default".to_owned(),
        services: Vec<String> = super::service::ServiceName::ALL.iter().map(|name| name.as_str().to_owned()).collect(),
    }
}
table! {
    /// `[peer]`
    Peer {
        tls_ca: String = String::new(),
        tls_cert: String = String::new(),
        tls_key: String = String::new(),
        allow_plaintext: bool = false,
    }
}
table! {
    /// `[http]`
    Http {
        public_url: String = String::new(),
        analytics: String = "totals".to_owned(),
        trusted_proxies: String = String::new(),
        pages_dir: String = String::new(),
        workers: u32 = 0,
        body_max_bytes: ByteSize = ByteSize(64 << 10),
        connections_max: u32 = 20_000,
        connections_per_address_max: u32 = 512,
        keep_alive_s: u32 = 75,
        client_timeout_ms: u32 = 5000,
        write_timeout_ms: u32 = 10_000,
        request_timeout_ms: u32 = 5000,
        shutdown_grace_s: u32 = 10,
    }
}
table! {
    /// `[dashboard]`
    Dashboard {
        enabled: bool = true,
        path: String = "/ui".to_owned(),
        listener: String = "both".to_owned(),
        host: String = String::new(),
        session_idle_s: u32 = 86_400,
        session_max_s: u32 = 2_592_000,
    }
}
table! {
    /// `[links]`
    Links { url_max_bytes: ByteSize = ByteSize(8192), expired_retention_days: u32 = 30, }
}
table! {
    /// `[cache]`
    Cache { bytes: ByteSize = ByteSize(256 << 20), }
}
table! {
    /// `[catalog]`
    Catalog { enabled: bool = true, }
}
table! {
    /// `[clicks]`
    Clicks {
        record: bool = true,
        interval_ms: u32 = 1000,
        journal_records: u32 = 1_000_000,
        spill_bytes: ByteSize = ByteSize(64 << 20),
        journal_sync_ms: u32 = 100,
        geo_database: String = String::new(),
        respect_do_not_track: bool = false,
        no_track_parameter: String = String::new(),
        excluded_networks: String = String::new(),
    }
}
table! {
    /// `[storage]`
    Storage {
        cache_bytes: ByteSize = ByteSize(64 << 20),
        checkpoint_bytes: ByteSize = ByteSize(1 << 20),
        log_kept_bytes: ByteSize = ByteSize(8 << 20),
        free_space_low: ByteSize = ByteSize(256 << 20),
        free_space_high: ByteSize = ByteSize(384 << 20),
        commit_delay_us: u32 = 0,
    }
}
table! {
    /// `[limits]`
    Limits {
        memory: MemoryBudget = MemoryBudget::Auto,
        shard_inflight_max: u32 = 1024,
        shard_statistics_max: u32 = 64,
        unknown_codes_per_s: u32 = 10,
    }
}
table! {
    /// `[janitor]`
    Janitor { interval_ms: u32 = 1000, }
}
table! {
    /// `[log]`
    Log { format: String = "human".to_owned(), level: String = "info".to_owned(), access_every: u32 = 0, }
}
table! {
    /// `[traces]`
    Traces { endpoint: String = String::new(), every: u32 = 100, }
}
