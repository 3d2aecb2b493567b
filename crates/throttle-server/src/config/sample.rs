//! The documented sample file, written from the types that read the real one.
//!
//! The macro `section!` defines a section of the configuration: its options with type, default and doc comment,
//! and how the section is read (`reader`). The comments become the rustdoc and the text of the sample file, so
//! neither can lack an option or show a wrong default.

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

/// Defines a section: a struct of options with their defaults and of tables, which are sections themselves; or a
/// table of entries that users name, with a few of them as a sample.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $(#[derive($($derive:ident),*)])?
        $visibility:vis struct $name:ident {
            options { $($(#[doc = $doc:literal])* $option:ident: $type:ty = $default:expr,)* }
            tables { $($table:ident: $section:ty,)* }
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq $($(, $derive)*)?)]
        $visibility struct $name {
            $($(#[doc = $doc])* pub $option: $type,)*
            $(#[doc = concat!("The section that ends with `", stringify!($table), "`.")]
            pub $table: $section,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($option: $default,)* $($table: Default::default(),)* }
            }
        }

        impl $crate::config::reader::Read for $name {
            fn read(
                value: toml::Spanned<toml::de::DeValue<'_>>,
                reader: &mut $crate::config::reader::Reader,
            ) -> Option<Self> {
                const KEYS: &[&str] = &[$(stringify!($option),)* $(stringify!($table),)*];
                let mut section = Self::default();
                for (key, value) in reader.table(value)? {
                    match key.get_ref().as_ref() {
                        $(stringify!($option) => {
                            let option = reader
                                .within(stringify!($option), |reader| reader.option(value));
                            section.$option = option.unwrap_or(section.$option);
                        })*
                        $(stringify!($table) => {
                            let table = reader.within(stringify!($table), |reader| {
                                $crate::config::reader::Read::read(value, reader)
                            });
                            section.$table = table.unwrap_or(section.$table);
                        })*
                        _ => reader.unknown(&key, KEYS),
                    }
                }
                Some(section)
            }
        }

        impl $crate::config::sample::Describe for $name {
            fn describe(path: &str, page: &mut $crate::config::sample::Page) {
                page.section(path, &[$($about),*]);
                $(page.option(stringify!($option), &[$($doc),*], &Self::default().$option);)*
                $(
                    let table = [path, stringify!($table)].join(".");
                    <$section>::describe(table.trim_start_matches('.'), page);
                )*
            }
        }
    };
    (
        $(#[doc = $about:literal])*
        $visibility:vis struct $name:ident($entries:ty) { $($key:ident = $value:literal;)* }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        $visibility struct $name($visibility $entries);

        impl $crate::config::reader::Read for $name {
            fn read(
                value: toml::Spanned<toml::de::DeValue<'_>>,
                reader: &mut $crate::config::reader::Reader,
            ) -> Option<Self> {
                <$entries>::read(value, reader).map(Self)
            }
        }

        impl $crate::config::sample::Describe for $name {
            fn describe(path: &str, page: &mut $crate::config::sample::Page) {
                page.section(path, &[$($about),*]);
                $(page.entry(stringify!($key), $value);)*
            }
        }
    };
}
