//! Several ways to one end, tried a little apart until one succeeds (RFC 8305, "Happy Eyeballs").

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

/// An attempt gets so long before the next one is made as well: what RFC 8305, section 5, recommends.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Makes the first attempt, and each further one when one has failed or after [`ATTEMPT_DELAY`]. Those before it go on
/// meanwhile, until one succeeds.
///
/// # Errors
/// If all failed: every error, in the order in which they came. None if there was no attempt.
pub async fn first_success<T, E, F>(attempts: impl IntoIterator<Item = F>) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut running = FuturesUnordered::new();
    let mut errors = Vec::new();
    for attempt in attempts {
        running.push(attempt);
        tokio::select! {
            biased;
            Some(ended) = running.next() => match ended {
                Ok(success) => return Ok(success),
                Err(error) => errors.push(error),
            },
            () = sleep(ATTEMPT_DELAY) => {}
        }
    }
    while let Some(ended) = running.next().await {
        match ended {
            Ok(success) => return Ok(success),
            Err(error) => errors.push(error),
        }
    }
    Err(errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::{BoxFuture, pending, ready};
    use tokio::time::Instant;

    fn answer(number: u32) -> BoxFuture<'static, Result<u32, u32>> {
        ready(Ok(number)).boxed()
    }

    fn failure(number: u32) -> BoxFuture<'static, Result<u32, u32>> {
        ready(Err(number)).boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_costs_one_delay_and_a_failure_none() {
        let began = Instant::now();
        assert_eq!(first_success([failure(1), answer(2)]).await, Ok(2));
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(first_success([pending().boxed(), answer(2), answer(3)]).await, Ok(2));
        assert_eq!(began.elapsed().as_millis(), ATTEMPT_DELAY.as_millis());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_first_attempt_goes_on_beside_the_others() {
        let slow = async {
            sleep(2 * ATTEMPT_DELAY).await;
            Ok(1)
        };
        assert_eq!(first_success([slow.boxed(), failure(2), failure(3)]).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn all_errors_are_told() {
        assert_eq!(first_success([failure(1), failure(2)]).await, Err(vec![1, 2]));
        assert_eq!(first_success::<u32, u32, BoxFuture<_>>([]).await, Err(vec![]));
    }
}
