//! Networks in mode `nat`: guests in namespaces on taps, a host of its own, a server beyond it.
mod cli;
mod dhclient;
mod flood;
mod forwards;
mod guest;
mod policy;
mod restart;
mod tcp;
mod world;
