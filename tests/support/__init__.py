"""What tests are made with: real brokers, faults on the wire, real processes, and waiting without sleeping."""
