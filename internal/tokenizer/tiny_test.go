package tokenizer

// letters is a small SPM vocabulary: <unk> <s> </s> U+2581 \n a..z, then t+h, th+e and ▁+the
// in order of score, and the bytes of é.
func letters() *Vocab {
	v := noSpecials()
	v.Model = ModelSPM
	v.UNK, v.BOS, v.EOS = 0, 1, 2
	v.AddBOS, v.AddSpacePrefix = true, true
	add := func(text string, score float32, typ TokenType) {
		v.Tokens, v.Scores, v.Types = append(v.Tokens, text), append(v.Scores, score), append(v.Types, typ)
	}
	add("<unk>", 0, Unknown)
	add("<s>", 0, Control)
	add("</s>", 0, Control)
	add("▁", -100, Normal)
	add("\n", -100, Normal)
	add(".", -100, Normal)
	for c := 'a'; c <= 'z'; c++ {
		add(string(c), -100, Normal)
	}
	add("<0xC3>", 0, Byte)
	add("<0xA9>", 0, Byte)
	add("<tool>", 0, UserDefined)
	add("th", -1, Normal)
	add("the", -2, Normal)
	add("▁the", -3, Normal)
	return v
}
