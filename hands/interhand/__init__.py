"""The public InterHand2.6M release, imported: pictures and annotations -> a data set in the raw layout. May import synthetic,
raw and what stands before them. Read importer.py first.

json_files  large JSON files read as streams, every field checked
frames      the pictures of a split, as columns
release     the release's folder: frames, cameras, joints, MANO fits
selection   filters: which frames
splits      train, val, test by subject or capture; paired and unpaired train frames
mano_file   the licensed MANO files, read without executing anything in them
mano        MANO's skinning in numpy
mano_parts  which part every MANO face belongs to, from the model's own skinning; the sealed wrist
labels      a hand's surface from its joints or from its MANO fit, rendered alone
agreement   do the labels lie where the joints are
chunks      what a worker does: frames -> encoded pictures and labels
staging     the unfinished import's folder, with which it goes on after an interruption
base        a raw data set that imported pictures are added to
report      what an import did
importer    the whole import
"""
