"""The packed set: made from the raw layout, read in whole batches, augmented. May import raw and what stands before it. Read
prepare.py first to make one, packed_set.py to read one."""
