//! Throughput benchmarks against named peers
