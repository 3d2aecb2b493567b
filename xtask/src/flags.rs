//! The command line: one verb each time, nearly all without flags.

xflags::xflags! {
    /// Builds, checks and measures this repository.
    cmd xtask {
        /// Run the benchmarks and print their figures.
        cmd bench {}
        /// All checks in order, the tests last.
        cmd ci {}
        /// Lint every target of every package; a warning is an error.
        cmd clippy {}
        /// Write the files that are generated from code.
        cmd codegen {
            /// Only tell whether they are fresh.
            optional --check
        }
        /// Drive the server with the published clients of the system before this one.
        cmd compat {}
        /// Check licences, sources, bans and duplicates of dependencies.
        cmd deny {
            /// Also look for published advisories and yanked releases, which takes the network.
            optional --advisories
        }
        /// Build the documentation, private items too; a warning is an error.
        cmd doc {}
        /// Run every example.
        cmd examples {}
        /// Check the formatting.
        cmd fmt {}
        /// Build throttle-core where there is no standard library.
        cmd no-std {}
        /// Make the packages that would be published.
        cmd package {}
        /// Run all tests.
        cmd test {}
        /// Check what no compiler checks: layers, headers, links, leftovers.
        cmd tidy {}
    }
}
