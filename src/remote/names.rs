//! Host names become addresses: the system's resolver, asked once at a time for each name.
//!
//! The system's lookup can't be called off, and takes very long when the name server is silent. So it has a thread of
//! its own, one for each name that is wanted, however many connections want it: left to the client, each attempt would take
//! one of the threads that wait for disks. Addresses that were found before serve again while the resolver fails or is silent:
//! that the right server answers at them is for TLS to tell.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the resolver is waited for when there are addresses from before.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many names are remembered: the API, the token server, where the API redirects to.
const REMEMBERED: usize = 64;

type Answer = Result<Arc<[SocketAddr]>, io::ErrorKind>;

/// Looks a name up, for as long as that takes.
type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The names that were and are being looked up.
pub(super) struct Names {
    lookup: Arc<Lookup>,
    state: Arc<Mutex<State>>,
    patience: Duration,
}

#[derive(Default)]
struct State {
    asked: HashMap<String, Shared<BoxFuture<'static, Answer>>>,
    found: HashMap<String, Arc<[SocketAddr]>>,
}

/// A lookup that is under way until this is dropped, however that comes about: a name is never taken for one that is being
/// looked up when nobody does.
struct Asked {
    state: Arc<Mutex<State>>,
    name: String,
}

impl Asked {
    /// It ends, and what it found is known before anybody can ask anew.
    fn ends(self, found: Option<&Arc<[SocketAddr]>>) {
        let Some(addresses) = found else { return };
        let mut state = lock(&self.state);
        if state.found.len() >= REMEMBERED {
            state.found.clear();
        }
        state.found.insert(self.name.clone(), Arc::clone(addresses));
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        lock(&self.state).asked.remove(&self.name);
    }
}

impl Names {
    /// By the system's resolver.
    pub(super) fn of_the_system() -> Self {
        Self::by(
            Arc::new(|name| Ok((name, 0).to_socket_addrs()?.collect())),
            PATIENCE,
        )
    }

    fn by(lookup: Arc<Lookup>, patience: Duration) -> Self {
        Self {
            lookup,
            state: Arc::default(),
            patience,
        }
    }

    /// The lookup of `name` that is under way, or a new one, and what was found before.
    fn ask(
        &self,
        name: &str,
    ) -> (
        Shared<BoxFuture<'static, Answer>>,
        Option<Arc<[SocketAddr]>>,
    ) {
        let mut state = lock(&self.state);
        let before = state.found.get(name).cloned();
        if let Some(asked) = state.asked.get(name) {
            return (asked.clone(), before);
        }
        let (tell, told) = oneshot::channel();
        let answer = async move { told.await.unwrap_or(Err(io::ErrorKind::Other)) }
            .boxed()
            .shared();
        let (lookup, shared) = (Arc::clone(&self.lookup), Arc::clone(&self.state));
        let wanted = name.to_owned();
        let started = std::thread::Builder::new()
            .name("name-lookup".to_owned())
            .spawn(move || {
                let asked = Asked {
                    state: shared,
                    name: wanted,
                };
                let found = lookup(&asked.name)
                    .map(Arc::from)
                    .map_err(|error| error.kind());
                asked.ends(found.as_ref().ok());
                // Those who asked may have gone.
                let _ = tell.send(found);
            });
        if started.is_ok() {
            state.asked.insert(name.to_owned(), answer.clone());
        }
        (answer, before)
    }

    async fn addresses(
        answer: Shared<BoxFuture<'static, Answer>>,
        before: Option<Arc<[SocketAddr]>>,
        patience: Duration,
    ) -> Answer {
        let Some(before) = before else {
            return answer.await;
        };
        match timeout(patience, answer).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(_)) | Err(_) => Ok(before),
        }
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let (answer, before) = self.ask(name.as_str());
        let patience = self.patience;
        Box::pin(async move {
            let found = Self::addresses(answer, before, patience)
                .await
                .map_err(io::Error::from)?;
            let addresses: Addrs = Box::new(Vec::from(&*found).into_iter());
            Ok(addresses)
        })
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A resolver that answers a name with what is sent to it, in the order of the questions.
    fn told() -> (Names, mpsc::Receiver<()>, mpsc::Sender<io::Result<u8>>) {
        let (asked, questions) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let answers = Mutex::new(answers);
        let lookup = move |_: &str| {
            let _ = asked.send(());
            let last = answers.lock().unwrap().recv().unwrap()?;
            Ok(vec![SocketAddr::from(([127, 0, 0, last], 0))])
        };
        let names = Names::by(Arc::new(lookup), Duration::from_millis(50));
        (names, questions, answer)
    }

    async fn resolved(names: &Names) -> Result<Vec<SocketAddr>, ()> {
        let name: Name = "api.example".parse().unwrap();
        let found = names.resolve(name).await.map_err(drop)?;
        Ok(found.collect())
    }

    fn address(last: u8) -> Result<Vec<SocketAddr>, ()> {
        Ok(vec![SocketAddr::from(([127, 0, 0, last], 0))])
    }

    #[tokio::test]
    async fn all_who_want_a_name_wait_for_one_lookup() {
        let (names, questions, answer) = told();
        let all = futures::future::join(resolved(&names), resolved(&names));
        // Polled in turn: it is answered when all have asked.
        let give = async { answer.send(Ok(1)).unwrap() };
        let (found, ()) = futures::future::join(all, give).await;
        assert_eq!(found, (address(1), address(1)));
        questions.try_recv().unwrap();
        assert!(questions.try_recv().is_err(), "asked once");
    }

    #[tokio::test]
    async fn what_was_found_before_serves_while_the_resolver_is_silent_or_fails() {
        let (names, _questions, answer) = told();
        answer.send(Err(io::ErrorKind::NotFound.into())).unwrap();
        assert_eq!(resolved(&names).await, Err(()));
        answer.send(Ok(2)).unwrap();
        assert_eq!(resolved(&names).await, address(2));
        answer.send(Err(io::ErrorKind::NotFound.into())).unwrap();
        assert_eq!(resolved(&names).await, address(2));
        // On a busy machine its patience is over before it fails.
        let is_asked = || !lock(&names.state).asked.is_empty();
        while is_asked() {
            tokio::task::yield_now().await;
        }
        // Silent: nobody answers this one before it is asked again.
        assert_eq!(resolved(&names).await, address(2));
        assert_eq!(lock(&names.state).asked.len(), 1);
        let (asked, _) = names.ask("api.example");
        answer.send(Ok(3)).unwrap();
        asked.await.unwrap();
        answer.send(Ok(3)).unwrap();
        assert_eq!(resolved(&names).await, address(3));
    }

    #[tokio::test]
    async fn a_lookup_that_breaks_down_is_no_answer_for_ever() {
        let (name, (answer, answers)) = ("api.example", mpsc::channel());
        let answers = Mutex::new(answers);
        let lookup = move |_: &str| {
            let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            let last: Option<u8> = answers.recv().unwrap();
            let last = last.expect("broken down on purpose");
            Ok(vec![SocketAddr::from(([127, 0, 0, last], 0))])
        };
        let names = Names::by(Arc::new(lookup), Duration::from_millis(50));
        let (broken, _) = names.ask(name);
        answer.send(None).unwrap();
        broken.await.unwrap_err();
        answer.send(Some(4)).unwrap();
        assert_eq!(resolved(&names).await, address(4));
    }
}
