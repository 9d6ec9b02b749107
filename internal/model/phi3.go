package model

// configurePhi3 takes long or short rope factors by the context, whatever kind of scaling
// the file names. The sliding window of Phi-3 is not honoured by llama.cpp, nor here.
func configurePhi3(_ *keys, c *Config) { c.LongRope = true }
