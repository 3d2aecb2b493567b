//! Systems of others that do the same job as our server with a store.

mod etcd;
mod pgbench;
mod postgres;

pub(crate) use self::{etcd::Etcd, postgres::Postgres};
