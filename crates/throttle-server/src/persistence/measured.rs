//! A store whose batches are measured.

use throttle_runtime::{Batch, Clock, Meta, Record, Store, StoreError};

use crate::server_metrics::StoreMetrics;

/// Passes everything on to another store, and counts batches, records, seconds and failures.
#[derive(Debug)]
pub(super) struct MeasuredStore<S> {
    inner: S,
    clock: Clock,
    metrics: StoreMetrics,
}

impl<S: Store> MeasuredStore<S> {
    pub(super) fn new(inner: S, metrics: StoreMetrics) -> Self {
        Self { inner, clock: Clock::start(), metrics }
    }
}

impl<S: Store> Store for MeasuredStore<S> {
    fn load(
        &mut self,
        receive: &mut dyn FnMut(Record) -> Result<(), StoreError>,
    ) -> Result<Option<Meta>, StoreError> {
        self.inner.load(receive)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let begin = self.clock.now();
        let outcome = self.inner.write(batch);
        self.metrics.record(batch.len(), self.clock.now() - begin, outcome.is_ok());
        outcome
    }

    fn max_batch(&self) -> usize {
        self.inner.max_batch()
    }

    fn blocks(&self) -> bool {
        self.inner.blocks()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use throttle_http::Metrics;

    use super::*;

    /// A disk that is full.
    #[derive(Debug)]
    struct Full;

    impl Store for Full {
        fn load(
            &mut self,
            _: &mut dyn FnMut(Record) -> Result<(), StoreError>,
        ) -> Result<Option<Meta>, StoreError> {
            Ok(None)
        }

        fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
            if batch.is_empty() { Ok(()) } else { Err(StoreError::new("it is full")) }
        }

        fn max_batch(&self) -> usize {
            7
        }
    }

    #[test]
    fn batches_and_failures_are_counted_and_passed_on() {
        let recorder = Arc::new(metrics::NoopRecorder);
        let measured = StoreMetrics::describe(&Metrics::new(recorder, Arc::new(String::new)));
        let mut store = MeasuredStore::new(Full, measured.clone());
        let some = Batch { semaphores: vec![("A".into(), None)], ..Batch::default() };
        assert!(store.write(&Batch::default()).is_ok() && store.write(&some).is_err());
        assert_eq!((store.max_batch(), store.blocks()), (7, true));
        assert_eq!(measured.failures(), 1);
    }
}
