"""The model as a picture that is edited: where its blocks stand, how they are drawn, what may be dropped where, and what an edit does."""
