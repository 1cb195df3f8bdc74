"""Students: RecBole models behind one small adapter."""
