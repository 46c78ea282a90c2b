//! `emulate`: the bundled server alone.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::emulator::{self, Arguments};
use crate::failure::Failure;

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let asked_to_stop = asked_to_stop()?;
        let options = arguments.into_options().map_err(Failure::typed)?;
        let running = emulator::start(options)
            .await
            .map_err(|error| {
                Failure::found(format!(
                    "the server can't be started ({error}): try another --listen"
                ))
            })?;
        super::print(&format!(
            "API URL        {}\nauth URL       {}\nclient id      {}\nclient secret  {}\n\nMount it:\n  \
             INTERACTIONFS_CLIENT_SECRET={3} interactionfs mount DIRECTORY --api-url {0} --auth-url {1} \
             --client-id {2}\n\nCtrl-C ends it.\n",
            running.api_url(),
            running.auth_url(),
            running.client_id(),
            running.client_secret(),
        ))?;
        asked_to_stop.await;
        running.stop().await;
        Ok(())
    })
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::found(format!("no threads can be started ({error})")))
}

/// Ends when Ctrl-C or a termination arrives. From the call on, neither kills the process.
pub(super) fn asked_to_stop() -> Result<impl Future<Output = ()>, Failure> {
    let handler = |kind| {
        signal(kind).map_err(|error| Failure::found(format!("signals can't be received ({error})")))
    };
    let mut interrupt = handler(SignalKind::interrupt())?;
    let mut terminate = handler(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
