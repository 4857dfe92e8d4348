package bboltjournal_test

func purchaseChild() {}
