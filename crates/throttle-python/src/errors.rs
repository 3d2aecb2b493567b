//! Errors of the client as exceptions of the package, which are defined in Python.

use pyo3::{prelude::*, types::PyModule};
use throttle_client::{Code, Error};

/// The exception for an error, with all its causes in a sentence.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let made = match error {
        Error::Refused { code: Code::UnknownPeer, detail, .. } => {
            make(py, "UnknownPeer", (detail.as_str(),))
        }
        Error::Refused { code, detail, status, .. } => {
            make(py, "Refused", (detail.as_str(), code.as_str(), *status))
        }
        Error::InvalidName { .. }
        | Error::InvalidRequest { .. }
        | Error::InvalidSetting { .. }
        | Error::InvalidUrl { .. } => make(py, "Refused", (error.to_string(), "invalid_name", 0)),
        _ => make(py, "Unreachable", (with_causes(error),)),
    };
    made.unwrap_or_else(|error| error)
}

/// An exception of `throttle_client.client`.
fn make<'py>(
    py: Python<'py>,
    class: &str,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> PyResult<PyErr> {
    let class = PyModule::import(py, "throttle_client.client")?.getattr(class)?;
    Ok(PyErr::from_value(class.call1(arguments)?))
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
