// Command openapi is a generator for buf: it makes the OpenAPI document of Holdfast's contract.
//
// The work is done by grpc-gateway's protoc-gen-openapiv3, which describes methods that carry a
// google.api.http rule and writes a document per file. Ours carry none, because the address of a
// Connect call follows from its name. So this program adds to each unary method the rule that
// Connect serves it by (POST /package.Service/Method), puts the files of the package into one, and
// hands that on. To the answer it adds the form in which Connect reports errors. Streaming methods
// are left out: their frames are not plain JSON and OpenAPI cannot say them.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv3/options"
	yaml "go.yaml.in/yaml/v3"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const about = `Holdfast stops an account takeover and keeps the assets in place while it is cleared up.

Every call is a POST with a JSON body; the same handlers speak gRPC and gRPC-Web. Amounts are decimal
strings, times are RFC 3339 in UTC, 64-bit numbers are JSON strings, ids are opaque. Unknown fields are
ignored. Every answer has the header Holdfast-Request, the id to quote; a refusal says why in Holdfast-Code,
a stable word, and when it ends in Holdfast-Until. The stream GuardService.Follow is not listed, because OpenAPI cannot describe it: use a
Connect or gRPC client.`

const serviceKey, holderSession = "serviceKey", "holderSession"

// open are the methods that a person without a session calls.
var open = []string{"SignIn", "FreezeWithCode", "RequestFreezeLink", "FreezeWithLink"}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	raw, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	req := &pluginpb.CodeGeneratorRequest{}
	if err := proto.Unmarshal(raw, req); err != nil {
		return err
	}
	whole := merge(req)
	for _, service := range whole.GetService() {
		for _, method := range service.GetMethod() {
			describe(whole.GetPackage(), service, method)
		}
	}
	document(whole)
	res, err := generate(req)
	if err != nil {
		return err
	}
	for _, file := range res.GetFile() {
		text, machine, err := finish(file.GetContent())
		if err != nil {
			return err
		}
		file.Name, file.Content = proto.String("holdfast.yaml"), proto.String(text)
		// The server publishes the same as JSON.
		res.File = []*pluginpb.CodeGeneratorResponse_File{file, {Name: proto.String("holdfast.json"), Content: proto.String(machine)}}
	}
	raw, err = proto.Marshal(res)
	if err != nil {
		return err
	}
	_, err = out.Write(raw)
	return err
}

// merge replaces the files to generate by one that holds all they hold. Names in descriptors are
// absolute, so only the paths of the comments change.
func merge(req *pluginpb.CodeGeneratorRequest) *descriptorpb.FileDescriptorProto {
	whole := &descriptorpb.FileDescriptorProto{
		Name:           proto.String("holdfast/v1/holdfast.proto"),
		Syntax:         proto.String("proto3"),
		SourceCodeInfo: &descriptorpb.SourceCodeInfo{},
	}
	var others []*descriptorpb.FileDescriptorProto
	for _, file := range req.GetProtoFile() {
		if !slices.Contains(req.GetFileToGenerate(), file.GetName()) {
			others = append(others, file)
			whole.Dependency = append(whole.Dependency, file.GetName())
			continue
		}
		whole.Package = file.Package
		offset := map[int32]int32{4: int32(len(whole.MessageType)), 5: int32(len(whole.EnumType)), 6: int32(len(whole.Service))}
		for _, at := range file.GetSourceCodeInfo().GetLocation() {
			if move, ok := offset[first(at.GetPath())]; ok && len(at.GetPath()) > 1 {
				at.Path[1] += move
				whole.SourceCodeInfo.Location = append(whole.SourceCodeInfo.Location, at)
			}
		}
		whole.MessageType = append(whole.MessageType, file.GetMessageType()...)
		whole.EnumType = append(whole.EnumType, file.GetEnumType()...)
		whole.Service = append(whole.Service, file.GetService()...)
		whole.Options = file.GetOptions()
	}
	req.ProtoFile = append(others, whole)
	req.FileToGenerate = []string{whole.GetName()}
	req.SourceFileDescriptors = nil
	return whole
}

func first(path []int32) int32 {
	if len(path) == 0 {
		return 0
	}
	return path[0]
}

// describe gives a unary method the address by which Connect serves it, and says who may call it.
func describe(pkg string, service *descriptorpb.ServiceDescriptorProto, method *descriptorpb.MethodDescriptorProto) {
	if method.GetServerStreaming() || method.GetClientStreaming() {
		return
	}
	if method.Options == nil {
		method.Options = &descriptorpb.MethodOptions{}
	}
	proto.SetExtension(method.Options, annotations.E_Http, &annotations.HttpRule{
		Pattern: &annotations.HttpRule_Post{Post: "/" + pkg + "." + service.GetName() + "/" + method.GetName()},
		Body:    "*",
	})
	need := &options.SecurityRequirement{}
	switch {
	case service.GetName() != "HolderService":
		need.Schemes = map[string]*options.SecurityRequirement_Scopes{serviceKey: {}}
	case !slices.Contains(open, method.GetName()):
		need.Schemes = map[string]*options.SecurityRequirement_Scopes{holderSession: {}}
	}
	proto.SetExtension(method.Options, options.E_Openapiv3Operation, &options.Operation{
		Security: []*options.SecurityRequirement{need},
	})
}

func document(whole *descriptorpb.FileDescriptorProto) {
	if whole.Options == nil {
		whole.Options = &descriptorpb.FileOptions{}
	}
	proto.SetExtension(whole.Options, options.E_Openapiv3Document, &options.Document{
		Info: &options.Info{
			Title:       "Holdfast",
			Version:     "v1",
			Description: about,
			License:     &options.License{Name: "Apache-2.0", Source: &options.License_Identifier{Identifier: "Apache-2.0"}},
		},
		Servers: []*options.Server{{Url: "http://127.0.0.1:8082", Description: "The API of make run."}},
		Components: &options.Components{SecuritySchemes: map[string]*options.SecurityScheme{
			serviceKey: {
				Type: options.SecurityScheme_TYPE_HTTP, Scheme: "bearer", BearerFormat: "JWT",
				Description: "A token of at most five minutes that the integrator signs with its service key (EdDSA).",
			},
			holderSession: {
				Type: options.SecurityScheme_TYPE_HTTP, Scheme: "bearer",
				Description: "The session that HolderService.SignIn gave.",
			},
		}},
	})
}

// generate runs the real generator, which stands beside this program on PATH.
func generate(req *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	raw, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("protoc-gen-openapiv3")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(raw), os.Stderr
	raw, err = cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("protoc-gen-openapiv3: %w", err)
	}
	res := &pluginpb.CodeGeneratorResponse{}
	return res, proto.Unmarshal(raw, res)
}

// failure is what Connect answers when a call fails: https://connectrpc.com/docs/protocol#error-end-stream
const failure = `
responses:
  Failure:
    description: The call failed or was refused. Nothing was changed.
    content:
      application/json:
        schema:
          $ref: '#/components/schemas/Failure'
schemas:
  Failure:
    type: object
    required: [code]
    properties:
      code:
        type: string
        description: A stable word for programs.
        enum: [canceled, unknown, invalid_argument, deadline_exceeded, not_found, already_exists,
          permission_denied, resource_exhausted, failed_precondition, aborted, out_of_range,
          unimplemented, internal, unavailable, data_loss, unauthenticated]
      message:
        type: string
        description: One or two sentences for the person, in plain English.
      details:
        type: array
        description: More about the failure, as typed values.
        items:
          type: object
          required: [type, value]
          properties:
            type:
              type: string
            value:
              type: string
              contentEncoding: base64
`

const failures = `
4XX:
  $ref: '#/components/responses/Failure'
5XX:
  $ref: '#/components/responses/Failure'
`

// finish adds the form of failures to every operation and turns the document into YAML, keeping its
// order, and into JSON.
func finish(content string) (text, machine string, err error) {
	var doc, shared, each yaml.Node
	err = errors.Join(
		yaml.Unmarshal([]byte(content), &doc),
		yaml.Unmarshal([]byte(failure), &shared),
		yaml.Unmarshal([]byte(failures), &each))
	if err != nil {
		return "", "", err
	}
	root := doc.Content[0]
	paths, components := get(root, "paths"), get(root, "components")
	if paths == nil || components == nil {
		return "", "", fmt.Errorf("the document has no paths or no components")
	}
	for i := 1; i < len(paths.Content); i += 2 {
		responses := get(get(paths.Content[i], "post"), "responses")
		if responses == nil {
			return "", "", fmt.Errorf("%s has no responses", paths.Content[i-1].Value)
		}
		remove(responses, "default")
		responses.Content = append(responses.Content, each.Content[0].Content...)
	}
	schemas := get(components, "schemas")
	remove(schemas, "google.rpc.Status")
	remove(schemas, "google.protobuf.Any")
	schemas.Content = append(schemas.Content, get(shared.Content[0], "schemas").Content...)
	components.Content = append(components.Content, shared.Content[0].Content[:2]...)
	plain(&doc)

	var out strings.Builder
	out.WriteString("# Generated from api/holdfast/v1/*.proto by make generate. DO NOT EDIT.\n")
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return "", "", err
	}
	if err := enc.Close(); err != nil {
		return "", "", err
	}
	var values map[string]any
	if err := doc.Decode(&values); err != nil {
		return "", "", err
	}
	object, err := json.MarshalIndent(values, "", "  ")
	return out.String(), string(object) + "\n", err
}

func get(mapping *yaml.Node, key string) *yaml.Node {
	if mapping == nil {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func remove(mapping *yaml.Node, key string) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			mapping.Content = slices.Delete(mapping.Content, i, i+2)
			return
		}
	}
}

// plain takes JSON's quotes and braces off wherever YAML needs none.
func plain(node *yaml.Node) {
	node.Style &^= yaml.FlowStyle | yaml.DoubleQuotedStyle
	if node.Kind == yaml.ScalarNode && strings.Contains(node.Value, "\n") {
		node.Style = yaml.LiteralStyle
	}
	if len(node.Content) == 0 && node.Kind != yaml.ScalarNode {
		node.Style = yaml.FlowStyle
	}
	for _, child := range node.Content {
		plain(child)
	}
}
