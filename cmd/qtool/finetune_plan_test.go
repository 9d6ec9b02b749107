package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/printable"
	"qtool/train"
)

// longcatHeader is the header of a model as large as LongCat-Flash, in 4 bits.
func longcatHeader() []byte {
	const (
		dim, layers, experts, identity, width, ff = 6144, 56, 512, 256, 2048, 12288
		heads, qRank, kvRank, rotated, vocab      = 64, 1536, 512, 64, 131072
	)
	md := &gguf.Metadata{}
	md.Set("general.architecture", "longcat-flash")
	for key, v := range map[string]int{
		"context_length": 131072, "embedding_length": dim, "block_count": layers, "feed_forward_length": ff, "vocab_size": vocab,
		"attention.head_count": heads, "attention.head_count_kv": 1, "attention.key_length": kvRank + rotated, "attention.value_length": kvRank,
		"attention.key_length_mla": 192, "attention.value_length_mla": 128, "attention.q_lora_rank": qRank, "attention.kv_lora_rank": kvRank,
		"rope.dimension_count": rotated, "expert_count": experts, "expert_used_count": 12, "expert_feed_forward_length": width,
		"n_zero_experts": identity, "expert_shared_count": 0, "leading_dense_block_count": 0,
	} {
		md.Set("longcat-flash."+key, uint32(v))
	}
	md.Set("longcat-flash.attention.layer_norm_rms_epsilon", float32(1e-5))
	md.Set("longcat-flash.rope.freq_base", float32(1e7))
	md.Set("longcat-flash.expert_weights_scale", float32(6))
	md.Set("tokenizer.ggml.model", "no_vocab")
	var tensors []*gguf.Tensor
	add := func(name string, shape ...int) {
		kind := gguf.Q4_K
		if len(shape) == 1 {
			kind = gguf.F32
		} else if shape[0]%256 != 0 {
			kind = gguf.Q8_0
		}
		tensors = append(tensors, &gguf.Tensor{Name: name, Type: kind, Shape: shape, Data: nothing{}})
	}
	add("token_embd.weight", dim, vocab)
	add("output_norm.weight", dim)
	add("output.weight", dim, vocab)
	for l := range layers {
		p := fmt.Sprintf("blk.%d.", l)
		add(p+"attn_norm.weight", dim)
		add(p+"attn_q_a.weight", dim, qRank)
		add(p+"attn_q_a_norm.weight", qRank)
		add(p+"attn_q_b.weight", qRank, heads*192)
		add(p+"attn_kv_a_mqa.weight", dim, kvRank+rotated)
		add(p+"attn_kv_a_norm.weight", kvRank)
		add(p+"attn_k_b.weight", 128, kvRank, heads)
		add(p+"attn_v_b.weight", kvRank, 128, heads)
		add(p+"attn_output.weight", heads*128, dim)
		add(p+"ffn_norm.weight", dim)
		add(p+"ffn_gate.weight", dim, ff)
		add(p+"ffn_up.weight", dim, ff)
		add(p+"ffn_down.weight", ff, dim)
		if l%2 == 0 {
			add(p+"ffn_gate_inp.weight", dim, experts+identity)
			add(p+"exp_probs_b.bias", experts+identity)
			add(p+"ffn_gate_exps.weight", dim, width, experts)
			add(p+"ffn_up_exps.weight", dim, width, experts)
			add(p+"ffn_down_exps.weight", width, dim, experts)
		}
	}
	var header bytes.Buffer
	_ = gguf.Write(context.Background(), &header, gguf.Assemble(md, tensors)) // fails behind the header
	return header.Bytes()
}

// nothing is tensor data that cannot be read.
type nothing struct{}

func (nothing) ReadAt([]byte, int64) (int, error) { return 0, errors.New("nothing is here") }

func TestAPlanNeedsTheHeaderAloneHoweverLargeTheModel(t *testing.T) {
	header := longcatHeader()
	alone, sparse := filepath.Join(t.TempDir(), "header.gguf"), filepath.Join(t.TempDir(), "sparse.gguf")
	for _, path := range []string{alone, sparse} {
		if err := os.WriteFile(path, header, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	const size = 400 << 30
	if err := os.Truncate(sparse, size); err != nil {
		t.Logf("no sparse file of that size here: %v", err)
		sparse = alone
	}
	for path, seq := range map[string]string{alone: "64", sparse: "512"} {
		cmd := exec.Command("qtool", "finetune", "--plan-only", "--json", "--model", path, "--seq", seq, "--checkpointing", "--max-resident", "1G")
		var out, log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		var peak int64
		for running := true; running; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatalf("%v\n%s", err, log.String())
				}
				running = false
			case <-time.After(time.Millisecond):
				now, _ := anonymousMemory(cmd.Process.Pid)
				peak = max(peak, now)
			}
		}
		const little = 1 << 30
		if peak > little {
			t.Errorf("the plan itself took %s", printable.Bytes(peak))
		}
		var r train.Estimate
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		// Of 560 billion weights, 27 billion or so work on a token: forward, back and
		// forward again.
		if r.BaseBytes < 310e9 || r.BaseBytes > 325e9 || r.FLOPsPerToken < 6*24e9 || r.FLOPsPerToken > 6*31e9 {
			t.Errorf("a base of %s, %.3g FLOPs for a token", printable.Bytes(r.BaseBytes), r.FLOPsPerToken)
		}
		if r.Memory.Total == 0 || r.Seconds <= 0 || r.ReadBytes < float64(r.BaseBytes) || r.DiskBytes < r.BaseBytes {
			t.Errorf("%+v", r)
		}
	}
}

func TestAPlanTellsWhatARunTrainsHoweverItIsAskedFor(t *testing.T) {
	dir := t.TempDir()
	data, adapter := filepath.Join(dir, "text.txt"), filepath.Join(dir, "first.gguf")
	if err := os.WriteFile(data, bytes.Repeat([]byte("one two three four. "), 60), 0o666); err != nil {
		t.Fatal(err)
	}
	base := tinyFile(t, fixtures.Shape{Dim: 64, FF: 128, Layers: 2, Experts: 4})
	qtool(t, "finetune", "--model", base, "--data", data, "--steps", "1", "--seq", "32", "--rank", "5", "--targets", "attn_q,ffn_up_exps", "--experts", "2", "--adapter", adapter)
	for name, args := range map[string][]string{
		"all":             {"--rank", "4"},
		"numbered":        {"--experts", "1,3", "--rank", "4"},
		"most used":       {"--experts", "top:1", "--rank", "4"},
		"another adapter": {"--init-adapter", adapter},
		"all weights":     {"--full", filepath.Join(dir, "trained.gguf")},
	} {
		args = append([]string{"finetune", "--model", base, "--seq", "32", "--json"}, args...)
		var plan train.Estimate
		if err := json.Unmarshal([]byte(qtool(t, append(args, "--plan-only")...)), &plan); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "trained.gguf")
		if name != "all weights" {
			args = append(args, "--adapter", out)
		}
		var r train.Report
		if err := json.Unmarshal([]byte(qtool(t, append(args, "--data", data, "--steps", "1")...)), &r); err != nil {
			t.Fatal(err)
		}
		m, want := plan.Memory, r.Plan.Memory
		if plan.Trained != int64(r.Plan.Parameters) || m.Parameters != want.Parameters || m.Moments != want.Moments || m.LastGood != want.LastGood || m.MappedBase != want.MappedBase {
			t.Errorf("%s: %d parameters, %+v predicted; the run says %d, %+v", name, plan.Trained, m, r.Plan.Parameters, want)
		}
		if !plan.Measured || plan.Seconds <= 0 || plan.FLOPsPerToken <= 0 {
			t.Errorf("%s: %+v", name, plan)
		}
		info, err := os.Stat(out)
		if err != nil {
			t.Fatal(err)
		}
		if header := info.Size() - plan.ResultBytes; header < 0 || header > 64<<10 {
			t.Errorf("%s: the result has %d bytes, train.Estimate were %d", name, info.Size(), plan.ResultBytes)
		}
	}
}
