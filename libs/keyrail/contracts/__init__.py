"""Every message, subject, stream and bucket. Data only: nothing here does I/O."""
