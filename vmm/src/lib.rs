//! A minimal KVM virtual machine monitor whose NICs live in netbackend
