//! The macro `section!`, which defines a section of the configuration: its options with type, default and doc
//! comment, and how the section is read (`reader`), unknown keys among them.
//!
//! The comments become the rustdoc and the text of the sample file (`sample`), so neither can lack an option or
//! show a wrong default.

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
