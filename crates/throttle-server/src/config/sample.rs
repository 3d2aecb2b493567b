//! The documented sample file, written from the types that read the real one (`section`).

use serde::Serialize;

/// A section of the file that can write its part of the sample.
pub(crate) trait Describe {
    /// Writes the section with the header `path`, which is empty for the whole file.
    fn describe(path: &str, page: &mut Page);
}

/// A section that is present only if its header is.
impl<T: Describe> Describe for Option<T> {
    fn describe(path: &str, page: &mut Page) {
        let outer = std::mem::replace(&mut page.is_optional, true);
        T::describe(path, page);
        page.is_optional = outer;
    }
}

/// The sample of a whole file.
pub(crate) fn sample<T: Describe>() -> String {
    let mut page = Page::default();
    T::describe("", &mut page);
    page.text
}

/// The sample file while it is written.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
    /// Whether the header is commented out, too.
    is_optional: bool,
}

impl Page {
    /// Begins a section.
    pub(crate) fn section(&mut self, path: &str, about: &[&str]) {
        self.comment(about);
        if !path.is_empty() {
            let comment = if self.is_optional { "# " } else { "" };
            self.line(&format!("{comment}[{path}]"));
        }
    }

    /// Describes an option. It is commented out, because the default applies without it.
    pub(crate) fn option(&mut self, key: &str, about: &[&str], default: &impl Serialize) {
        let default = toml::Value::try_from(default).expect("defaults are plain values");
        self.comment(about);
        self.line(&format!("# {key} = {default}"));
    }

    /// Writes an entry that is not commented out, so that the sample can be tried.
    pub(crate) fn entry(&mut self, key: &str, value: &str) {
        self.line(&format!("{key} = {value}"));
    }

    /// Writes a paragraph after an empty line.
    fn comment(&mut self, lines: &[&str]) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        for line in lines {
            self.line(format!("#{line}").trim_end());
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}
