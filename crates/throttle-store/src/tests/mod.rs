//! What the store promises to the runtime and to operators, by public functions only.

mod disk;
mod embedded;
mod samples;
mod text;
mod versions;
