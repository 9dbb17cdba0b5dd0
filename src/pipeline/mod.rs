//! Pure data: what a LogPipeline is.
