"""The stack file format, sentence by sentence: cases, the reference tool beside them, what is covered."""
