package tokenizer

// letters is a small SPM vocabulary: <unk> <s> </s> ▁ \n . a..z, the bytes, the
// user-defined <tool>, and t+h, th+e, ▁+the in order of score.
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
	add("<tool>", 0, UserDefined)
	add("th", -1, Normal)
	add("the", -2, Normal)
	add("▁the", -3, Normal)
	for b := range 256 {
		add(byteName(b), 0, Byte)
	}
	return v
}

func byteName(b int) string {
	const hex = "0123456789ABCDEF"
	return "<0x" + hex[b>>4:b>>4+1] + hex[b&15:b&15+1] + ">"
}

// byteLevel is a small BPE vocabulary: the byte alphabet, <|bos|> <|im_end|>
// <tool>, and a few merges: "h e", "l l", "he ll", "hell o", "Ġ hello", "a a", "aa aa".
func byteLevel(pre string) *Vocab {
	v := noSpecials()
	v.Model, v.Pre = ModelBPE, pre
	for _, r := range byteAlphabet {
		v.Tokens = append(v.Tokens, string(r))
	}
	v.Merges = []string{"h e", "l l", "he ll", "hell o", "Ġ hello", "a a", "aa aa"}
	v.Tokens = append(v.Tokens, "<|bos|>", "<|im_end|>", "<tool>", "he", "ll", "hell", "hello", "Ġhello", "aa", "aaaa")
	v.Types = make([]TokenType, len(v.Tokens))
	for i := range v.Types {
		v.Types[i] = Normal
	}
	v.Types[256], v.Types[257], v.Types[258] = Control, Control, UserDefined
	v.BOS, v.EOS = 256, 257
	return v
}
