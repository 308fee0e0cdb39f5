//! The end of a burst: what the host has held back is sent, and who sent what could not be is told.
use super::Gateway;
use super::output::Counting;
use crate::env::Env;
use crate::host::{Host, TokenClass, Unsent};
use crate::meta::Output;
use std::time::Duration;

impl<H: Host> Gateway<H> {
    /// Has the host send what it holds back. True: not all of it could be sent, and [`Gateway::poll`] may have work from that.
    pub fn flush(&mut self, now: Duration, out: &mut dyn Output) -> bool {
        self.host.flush();
        let mut failed = false;
        // A question that goes to the next server is held back, and may fail, as well; there is an end to servers.
        while let Some(unsent) = self.host.take_unsent() {
            self.unsent(now, &unsent, out);
            self.host.flush();
            failed = true;
        }
        failed
    }

    fn unsent(&mut self, now: Duration, unsent: &Unsent, out: &mut dyn Output) {
        let out = &mut Counting::new(out);
        let env = env!(self, now, out);
        match unsent.token.class() {
            Some(TokenClass::Service) => {
                env.with_services(|services, cx| services.unsent(cx, unsent.token));
            }
            _ => self.datagrams.unsent(env, unsent),
        }
        out.add_to(&mut self.counters);
    }
}
