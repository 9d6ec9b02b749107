package tokenizer

import "fmt"

func ExampleTokenizer_Encode() {
	tok, err := New(letters())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, id := range tok.Encode("the then", EncodeOptions{AddSpecial: true}) {
		fmt.Printf("%q ", tok.Piece(id))
	}
	// Output: "<s>" " the" " the" "n"
}
