//! Group commit, for calls: what comes while batches are under way goes into the next one.
//!
//! With one caller a batch is one item and nothing waits. With many, the items of a batch share its
//! cost, and the batches grow just as large as the load makes them.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedReceiver;

/// How much may be under way.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Batches at one time.
    pub in_flight: usize,
    /// Items in a batch.
    pub items: usize,
    /// Bytes in a batch; an item that is larger goes alone.
    pub bytes: usize,
}

/// Where batches go.
pub trait Carrier: Send {
    /// What is collected.
    type Item: Send;

    /// How much may be under way.
    const LIMITS: Limits;

    /// Bytes that an item takes, roughly.
    fn size(item: &Self::Item) -> usize;

    /// Hands a batch over, in order; what comes back ends once the batch is done.
    fn hand_over(
        &mut self,
        batch: Vec<Self::Item>,
    ) -> impl Future<Output = BoxFuture<'static, ()>> + Send;
}

/// Hands over what comes out of `queue`, until it is closed.
pub async fn carry<C: Carrier>(mut carrier: C, mut queue: UnboundedReceiver<C::Item>) {
    let limits = C::LIMITS;
    let mut waiting = Vec::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        if waiting.is_empty() {
            tokio::select! {
                taken = queue.recv_many(&mut waiting, limits.items), if under_way.len() < limits.in_flight => {
                    if taken == 0 {
                        break;
                    }
                }
                Some(()) = under_way.next() => continue,
            }
        } else if under_way.len() >= limits.in_flight {
            under_way.next().await;
        }
        let mut bytes = 0;
        let fitting = waiting.iter().take_while(|item| {
            bytes += C::size(item);
            bytes <= limits.bytes
        });
        let count = fitting.count().max(1);
        let rest = waiting.split_off(count);
        let batch = std::mem::replace(&mut waiting, rest);
        let handed_over = carrier.hand_over(batch).await;
        under_way.push(handed_over);
    }
    while under_way.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    /// The batches that were started, and what ends each.
    type Started = Arc<Mutex<Vec<(Vec<u32>, Option<oneshot::Sender<()>>)>>>;

    fn sizes(started: &Started) -> Vec<usize> {
        let started = started.lock().unwrap_or_else(PoisonError::into_inner);
        started.iter().map(|(batch, _)| batch.len()).collect()
    }

    fn end_first(started: &Started) {
        let mut started = started.lock().unwrap_or_else(PoisonError::into_inner);
        let first = started.iter_mut().find_map(|(_, end)| end.take());
        drop(first);
    }

    struct Recorder(Started);

    impl Carrier for Recorder {
        type Item = u32;
        const LIMITS: Limits = Limits { in_flight: 1, items: 100, bytes: 50 };

        fn size(_: &u32) -> usize {
            10
        }

        async fn hand_over(&mut self, batch: Vec<u32>) -> BoxFuture<'static, ()> {
            let (end, ended) = oneshot::channel::<()>();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push((batch, Some(end)));
            Box::pin(async move { drop(ended.await) })
        }
    }

    #[tokio::test]
    async fn what_comes_meanwhile_goes_together() {
        let (sender, queue) = mpsc::unbounded_channel();
        let started = Started::default();
        let task = tokio::spawn(carry(Recorder(started.clone()), queue));
        let settle = async || {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        };
        assert!(sender.send(1).is_ok());
        settle().await;
        assert_eq!(sizes(&started), [1]);
        (2..9).for_each(|item| assert!(sender.send(item).is_ok()));
        settle().await;
        assert_eq!(sizes(&started), [1], "one at a time");
        end_first(&started);
        settle().await;
        assert_eq!(sizes(&started), [1, 5], "as much as fits");
        end_first(&started);
        settle().await;
        assert_eq!(sizes(&started), [1, 5, 2]);
        end_first(&started);
        drop(sender);
        assert!(task.await.is_ok());
        let items: Vec<u32> = started
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .flat_map(|(batch, _)| batch.clone())
            .collect();
        assert_eq!(items, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
