"""Pictures and stores as files, whoever wrote them: decoding, encoding, LMDB, the crop. May import processes. Read
decoding.py first."""
