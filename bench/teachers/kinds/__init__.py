"""The kinds of teachers that the suite builds, one file each with what it is made of."""
