"""Names of the raw layout's lists, which layout.py explains. Free of torch, as the pipeline's own process is."""

LIST_COMPLETE = "datalist_train_complete.pt"
LISTS = {"train": "datalist_train_mp.pt", "val": "datalist_val_mp.pt", "test": "datalist_stud_test.pt"}
MASK_IDS = {"train": "path2id_train.pt", "val": "path2id_val.pt", "test": "path2id_test.pt"}
UNPAIRED_IDS = "unpaired_segm_ids.pt"
