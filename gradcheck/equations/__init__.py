"""The equations of a document, as printed and as corrected, judged."""
