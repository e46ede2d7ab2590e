"""The laboratory: virtual machines with clocks of their own, on a network of their own, looked at from
outside."""
