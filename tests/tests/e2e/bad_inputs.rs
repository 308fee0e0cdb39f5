//! What people get wrong: each mistake is answered with a message that names it, and a non-zero code.
