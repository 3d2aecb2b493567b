//! The command line: one verb, most without flags.

use std::path::PathBuf;

xflags::xflags! {
    /// Builds, checks and measures this repository.
    cmd xtask {
        /// Measure our server, the old one and a bare HTTP server side by side.
        cmd bench {
            /// Less of everything: within three minutes.
            optional --quick
            /// How often each measurement is repeated.
            optional --rounds rounds: usize
            /// How long each round of a load takes.
            optional --seconds seconds: f64
            /// Only this study: throughput, contention, queue, pauses, memory, start-up or store.
            repeated --study study: String
            /// Only this scenario of the throughput study: cycle, lock, heartbeat, roam or queue.
            repeated --scenario scenario: String
            /// How many peers the study of pauses involves: by default 100,000, then a million; and that of the store.
            optional --concerned peers: usize
            /// Throughput only at empty servers.
            optional --empty
            /// Leave the old server out, which takes minutes to build.
            optional --no-old
            /// First install etcd and PostgreSQL with apt, for the study of the store. Takes root.
            optional --install
            /// Let server and load share the processors.
            optional --no-pin
            /// Where to write figures, tables and plots. By default below the target directory.
            optional --out directory: PathBuf
        }
        /// All checks in order, the tests last.
        cmd ci {}
        /// Lint every target of every package; a warning is an error.
        cmd clippy {}
        /// Write the files that are generated from code.
        cmd codegen {}
        /// Drive the server with the published clients of the system before this one.
        cmd compat {}
        /// Check that everything compiles for macOS and Windows, as far as that is possible here.
        cmd cross {}
        /// Kill the server under load again and again, and check that it broke no promise.
        cmd crash {
            /// How often the server is killed; 1,000 by default.
            optional --rounds rounds: usize
            /// The seed of the load and of the moments of the kills.
            optional --seed seed: u64
            /// Another program `throttle`, such as a release build.
            optional --server path: PathBuf
            /// Without the servers that break a promise on purpose.
            optional --no-controls
        }
        /// Check licences, sources, bans and duplicates of dependencies.
        cmd deny {
            /// Also check for published advisories and yanked releases, which takes the network.
            optional --advisories
        }
        /// Build programs, wheels and checksums into target/dist.
        cmd dist {}
        /// Build the documentation, private items too; a warning is an error.
        cmd doc {}
        /// Run every example.
        cmd examples {}
        /// Run every client kind behind a proxy that injects faults.
        cmd faults {
            /// A short history of exclusion instead of one of two minutes.
            optional --quick
            /// Only the history of exclusion, without the table.
            optional --history
            /// Only rows of the table whose title contains this, without the history.
            optional --row row: String
            /// The seed that selects the faults of the history.
            optional --seed seed: u64
        }
        /// Check the formatting.
        cmd fmt {}
        /// Count the instructions of the core's operations, if valgrind is installed.
        cmd instructions {
            /// Also count in this revision, and print the ratios.
            optional --against revision: String
            /// Among ten thousand peers at most, instead of a million.
            optional --quick
        }
        /// Lint the Dockerfile, the systemd unit, the Kubernetes manifest and the nginx site.
        cmd manifests {}
        /// Build throttle-core where there is no standard library.
        cmd no-std {}
        /// Build the packages that would be published.
        cmd package {}
        /// Build, install and test the Python package.
        cmd python {}
        /// Run all tests.
        cmd test {}
        /// Check what no compiler checks: layers, module headers, leftovers, spelling, links.
        cmd tidy {}
        /// Find dependencies that no source uses.
        cmd unused {}
    }
}
