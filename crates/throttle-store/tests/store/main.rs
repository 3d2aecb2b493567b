//! What the store promises to the runtime and to operators, by public functions only.

mod embedded;
mod samples;
