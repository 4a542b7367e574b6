//! One running actor as its callers use it: admission, and the address of its mailbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use waypost_protocol::{CallError, Class, Request, Service, ServiceError};

use crate::ask::Ask;
use crate::metrics::ActorMetrics;
use crate::panics::Panics;
use crate::routes::{Route, Table};
use crate::spec::Spec;

/// Permits of one kind, and how many there are.
struct Permits {
    free: Arc<Semaphore>,
    all: u32,
}

impl Permits {
    fn new(all: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), all: all as u32 }
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.free.clone().acquire_owned().await
    }
}

/// One running actor.
pub(crate) struct Child {
    table: Table,
    permits: Permits,
    /// Permits of messages that only read; as many as the others.
    read_permits: Permits,
    /// Permits of reads that take long.
    slow_read_permits: Permits,
    closed: AtomicBool,
    stop: Arc<Notify>,
    metrics: Arc<ActorMetrics>,
    panics: Arc<Panics>,
}

impl Child {
    pub(crate) fn new(
        spec: &Spec,
        table: Table,
        stop: Arc<Notify>,
        metrics: Arc<ActorMetrics>,
        panics: Arc<Panics>,
    ) -> Self {
        Self {
            table,
            permits: Permits::new(spec.inflight_max),
            read_permits: Permits::new(spec.inflight_max),
            slow_read_permits: Permits::new(spec.slow_reads_max),
            closed: AtomicBool::new(false),
            stop,
            metrics,
            panics,
        }
    }

    /// Sends a message, once it is admitted, and waits for its answer until the deadline.
    pub(crate) async fn ask<M: Request>(&self, message: M, deadline: Instant) -> Result<M::Reply, CallError> {
        let service = <M::Service as Service>::NAME;
        if self.is_closed() {
            self.metrics.gone.inc();
            return Err(CallError::Unavailable { service });
        }
        // An actor that answers only some messages of its service.
        let Some(route) = self.route::<M>() else {
            return Err(CallError::Service(ServiceError::NotHere { leader: None }));
        };
        let permit = self.admit(M::CLASS, service, deadline).await?;
        let ask = Ask::new(message, permit, deadline, self.metrics.clone(), route.metrics.clone(), self.panics.clone());
        match timeout_at(deadline, route.recipient.send(ask)).await {
            Err(_) => Err(self.late(service)),
            Ok(Err(_closed)) => {
                self.metrics.gone.inc();
                Err(CallError::Unavailable { service })
            }
            Ok(Ok(answer)) => answer.map_err(CallError::Service),
        }
    }

    async fn admit(
        &self,
        class: Class,
        service: &'static str,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, CallError> {
        let at_once = |permits: &Permits| {
            permits.free.clone().try_acquire_owned().map_err(|_| {
                self.metrics.overloaded.inc();
                CallError::Overloaded { service }
            })
        };
        match class {
            Class::Interactive => at_once(&self.permits),
            Class::Read => at_once(&self.read_permits),
            Class::SlowRead => at_once(&self.slow_read_permits),
            Class::Control | Class::Bulk => timeout_at(deadline, self.permits.wait())
                .await
                .map_err(|_| self.late(service))?
                .map_err(|_| CallError::Unavailable { service }),
        }
    }

    fn late(&self, service: &'static str) -> CallError {
        self.metrics.late.inc();
        CallError::Deadline { service }
    }

    fn route<M: Request>(&self) -> Option<&Route<M>> {
        let (_, route) = self.table.iter().find(|(kind, _)| *kind == M::KIND)?;
        route.downcast_ref()
    }

    /// Whether it admits no more messages.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Admits no more messages.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Admits no more messages, and ends the actor.
    pub(crate) fn stop(&self) {
        self.close();
        self.stop.notify_one();
    }

    /// Waits until the admitted messages are done. Returns whether they were, before the deadline.
    pub(crate) async fn drained(&self, deadline: Instant) -> bool {
        for permits in [&self.permits, &self.read_permits, &self.slow_read_permits] {
            match timeout_at(deadline, permits.free.acquire_many(permits.all)).await {
                Ok(Ok(_all)) => {}
                Ok(Err(_)) | Err(_) => return false,
            }
        }
        true
    }
}
