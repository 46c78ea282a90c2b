//! How urgent a request under way is.

use tokio::sync::watch;

use super::Class;

/// The urgency of a request that others may join. Clones are one and the same.
///
/// Whoever comes to rely on a request that was made at a lower class raises it: a second request for the same bytes
/// would be spent for nothing, and only this way it can be told that the first has not been sent yet.
#[derive(Clone, Debug)]
pub struct Urgency(watch::Sender<Class>);

impl Urgency {
    /// As urgent as `class`.
    pub fn of(class: Class) -> Self {
        Self(watch::Sender::new(class))
    }

    /// The class just now.
    pub fn class(&self) -> Class {
        *self.0.borrow()
    }

    /// Makes it at least as urgent as `class`.
    pub fn raise(&self, class: Class) {
        self.0.send_if_modified(|present| {
            let is_raised = class < *present;
            *present = class.min(*present);
            is_raised
        });
    }

    /// Returns as soon as it is more urgent than `class`; else never.
    pub(super) async fn raised_above(&self, class: Class) {
        let mut changes = self.0.subscribe();
        // The sender lives as long as this borrow of it, so this ends with the condition only.
        if changes.wait_for(|present| *present < class).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_raised_and_never_lowered() {
        let urgency = Urgency::of(Class::Prefetch);
        let (clone, raised) = (urgency.clone(), urgency.raised_above(Class::Prefetch));
        clone.raise(Class::Refresh);
        raised.await;
        clone.raise(Class::Prefetch);
        assert_eq!(urgency.class(), Class::Refresh);
        clone.raise(Class::Reader);
        urgency.raised_above(Class::Refresh).await;
    }
}
