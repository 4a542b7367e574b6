//! The life of a node, from top to bottom: it opens its store, joins or creates its cluster, starts its services, listens, is ready, runs
//! until something ends it, and stops.

use std::convert::Infallible;

use super::base::Base;
use super::error::NodeError;
use super::listen::Listeners;
use super::serve::{Servers, announce_dashboard};
use super::services::Services;
use super::signals::Signals;
use super::{descriptors, peers, ready, stop};
use crate::config::Config;
use crate::lifecycle::Event;

/// Runs a node until it is told to stop. `on_storage_failure` is called if the store fails while the node runs; it must not return to
/// normal work.
///
/// # Errors
/// If the node cannot start, or does not stop in order.
pub async fn run(
    config: Config,
    engine: tokio::runtime::Handle,
    on_storage_failure: fn(&str),
) -> Result<(), NodeError> {
    let mut signals = Signals::catch()?;

    // Parts that do not depend on the data come first: a node that cannot listen does not touch its directory.
    let connections_max = descriptors::connections(&config)?;
    let listeners = Listeners::bind(&config)?;
    let addresses = listeners.addresses;

    // From here on, errors of the system name the data directory.
    let data_dir = config.node.data_dir.clone();
    let refused = |error: NodeError| error.in_data_dir(&data_dir);
    let base = Base::open(config, engine, on_storage_failure).map_err(refused)?;

    // A node that waits for others can be stopped like any other.
    let Some(joined) = signals.unless_told(peers::join(&base)).await else { return Ok(()) };
    let joined = joined.map_err(refused)?;
    base.report_opened(&joined.groups);

    let is_local = addresses.are_local(&base.config);
    let (services, authenticator) = Services::start(&base, joined, is_local).await.map_err(refused)?;
    let mut servers = Servers::start(&base, &services, authenticator, listeners, connections_max)?;
    base.lifecycle.follow(Event::Started);

    let node = servers.node.clone();
    let announcing = async {
        ready::wait(&services).await;
        addresses.announce();
        announce_dashboard(&node);
        std::future::pending::<Infallible>().await
    };
    let ended = tokio::select! {
        never = announcing => match never {},
        () = services.removed.notified() => Ended::Removed,
        signal = signals.told() => Ended::Told(signal),
        error = servers.ended() => Ended::Server(error),
    };
    match &ended {
        // From here on the shards accept no clicks of this node, so it must not answer another redirect.
        Ended::Removed => base.lifecycle.follow(Event::Removed),
        Ended::Told(signal) => tracing::info!("{signal}: stopping"),
        Ended::Server(_) => {}
    }
    base.lifecycle.follow(Event::Stop);
    shut_down(&base, services, servers, signals).await?;
    match ended {
        // Only now the number of remaining clicks is known.
        Ended::Removed => Err(NodeError::removed(&base.config)),
        Ended::Server(error) => Err(error),
        Ended::Told(_) => Ok(()),
    }
}

/// Why a node stops.
enum Ended {
    /// The cluster has removed it.
    Removed,
    /// A signal, by its name.
    Told(&'static str),
    /// One of its servers has ended by itself.
    Server(NodeError),
}

/// Stops all parts in the order of their dependencies: leaders, requests, clicks, actors, groups, catalog, store.
async fn shut_down(base: &Base, services: Services, servers: Servers, signals: Signals) -> Result<(), NodeError> {
    stop::hand_over(&services.groups, &base.engine).await;
    base.lifecycle.follow(Event::HandedOver);
    signals.exit_on_the_next(&base.tasks);

    servers.public.pause().await;
    stop::end_requests(&base.lifecycle, base.config.shutdown_grace).await;
    // Requests on kept connections are refused from here on, so that no click comes after the last count.
    base.lifecycle.follow(Event::RequestsEnded);
    servers.public.stop().await;
    stop::end_requests(&base.lifecycle, stop::DRAIN_LOOK * 4).await;

    services.actors.stop().await;
    servers.admin.stop().await;
    services.clock.note_now()?;
    stop::close(services.groups, services.catalog, base.db.clone(), &base.engine).await?;
    tracing::info!("stopped");
    Ok(())
}
