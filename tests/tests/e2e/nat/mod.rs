//! Networks in mode `nat`: guests in namespaces on taps, a host of its own, a server beyond it.
mod boot;
mod cli;
mod dhclient;
mod dns;
mod flood;
mod forwards;
mod guest;
mod peers;
mod policy;
mod restart;
mod stream;
mod tcp;
mod world;
